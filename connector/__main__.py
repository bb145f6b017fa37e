"""`python -m connector` is `kafka-celonis`."""

from connector.cli import main

if __name__ == "__main__":
    main()
