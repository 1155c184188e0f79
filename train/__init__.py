"""selon: who vouches for each sentence of a French news article."""

__version__ = "0.1.0"
