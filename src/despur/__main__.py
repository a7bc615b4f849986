"""`python -m despur` is the command `despur`."""

from despur.cli import main

if __name__ == "__main__":
    main()
