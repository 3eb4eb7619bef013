"""``python -m firebreak``: the command line, for where no script is on PATH."""

from firebreak.cli import main

if __name__ == "__main__":
    main()
