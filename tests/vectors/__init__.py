"""Published vectors of the trail's format; `docs/trail-format.md` explains them."""
