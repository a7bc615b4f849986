"""Which weights are chosen: scores to masks (`choose`) of some format (`formats`), and masks on weights (`apply`)."""
