"""`python -m servetwin`, the same as `servetwin`."""

from servetwin.cli import main

if __name__ == "__main__":
    main()
