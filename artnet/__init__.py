"""Convolutional-recurrent networks that classify paintings by artist, style and genre."""
