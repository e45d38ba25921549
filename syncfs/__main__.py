"""`python -m syncfs` is the command `syncfs`."""

from syncfs.cli.main import main

if __name__ == "__main__":
    main()
