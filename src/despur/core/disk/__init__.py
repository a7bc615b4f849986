"""Files and folders that are whole: written beside their place, brought to the disk, renamed; no link of a stranger is followed."""
