"""`python -m shards.demo`: paint a demo data set."""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError, command
from ..files import atomic_write
from ..numbers import whole
from .dataset import contact_sheet, write


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m shards.demo", description="Paint a demo data set.")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="DIR", help="folder for images and label lists")
    target.add_argument("--contact-sheet", type=Path, metavar="FILE.png", help="draw a sheet of samples instead")
    parser.add_argument("--paintings", type=whole, default=1200, help="number of paintings (default: 1200)")
    parser.add_argument("--seed", type=whole, default=0, help="seed of the paintings, 0 or more (default: 0)")
    args = parser.parse_args(argv)
    if args.seed < 0:
        raise UserError(f"the seed {args.seed} is negative; give 0 or more")
    if args.contact_sheet:
        png = io.BytesIO()
        contact_sheet(args.seed).save(png, "PNG", optimize=True)
        atomic_write(args.contact_sheet, png.getvalue())
        print(f"contact sheet in {args.contact_sheet}")
    else:
        write(args.out, args.paintings, args.seed)
        print(f"{args.paintings:,} paintings in {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
