"""Paintings that are worth a look: their label may be wrong, by predictions of networks that did not train on them."""
