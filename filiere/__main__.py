"""`python -m filiere` is the same as `filiere`."""

from filiere.cli import main

if __name__ == "__main__":
    main()
