"""Rival models behind one contract; ``base`` states it and lists who implements it."""
