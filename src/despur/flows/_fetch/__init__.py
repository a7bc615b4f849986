"""`despur fetch`: pretrained bases that need no hub."""
