"""``python -m train`` is ``selon``."""

from train.cli import main

main()
