"""What every method is said to do, one file a method: `despur prove NAME` runs it, beside a control that must fail."""
