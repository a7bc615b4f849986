"""The audit of rows: what they teach beside their task, heard before anything is trained on them."""
