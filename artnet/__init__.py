"""Convolutional-recurrent networks that tell the artist, style and genre of a painting."""
