"""`python -m emogram` is the command `emogram`."""

from emogram.cli import main

if __name__ == "__main__":
    main()
