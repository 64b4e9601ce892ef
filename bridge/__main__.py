"""`python -m bridge` is the command itself."""

from bridge.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
