"""The words of the product as types: standard library only, no I/O."""
