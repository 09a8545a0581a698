"""`python -m thinkaudit` is `thinkaudit`."""

from .cli import main

if __name__ == "__main__":
    main()
