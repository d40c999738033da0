"""A folder of images, or Parquet with a column of image bytes, through Ray Data to Parquet.

    python ray_data.py photos/ features/ --model /models/clip-vit-large-patch14 --layer -2 --tokens patch
    python ray_data.py images.parquet features/ --column bytes --actors 8

Each row keeps its other columns, and gets `features` and `error`: a broken image costs its own row. Ray retries what a killed
actor had.
"""

import argparse
import os

import ray

from clip_features import Extractor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", help="a folder of images, or Parquet")
    parser.add_argument("output", help="a folder for Parquet, or with --format webdataset for tars")
    parser.add_argument("--model")
    parser.add_argument("--random-weights", type=int)
    parser.add_argument("--layer", type=int)
    parser.add_argument("--tokens")
    parser.add_argument("--column", help="the column of Parquet that holds the images")
    parser.add_argument("--actors", type=int, default=os.cpu_count())
    parser.add_argument("--batch-size", type=int, default=16, help="rows that an actor takes at once")
    parser.add_argument("--format", choices=["parquet", "webdataset"], default="parquet")
    args = parser.parse_args()

    is_parquet = args.input.endswith(".parquet") or any(name.endswith(".parquet") for name in os.listdir(args.input))
    if is_parquet:
        images = ray.data.read_parquet(args.input)
    else:
        images = ray.data.read_binary_files(args.input, include_paths=True)
    features = images.map_batches(
        Extractor,
        fn_constructor_kwargs={
            "model": args.model,
            "random_weights": args.random_weights,
            "layer": args.layer,
            "tokens": args.tokens,
            "column": args.column,
            "threads": 1,
        },
        batch_size=args.batch_size,
        compute=ray.data.ActorPoolStrategy(size=args.actors),
        # A thread each, but together a core less: where actors had them all, the readers would wait for one for ever.
        num_cpus=1 - 1 / args.actors,
    ).materialize()
    failed = features.filter(lambda row: row["error"] is not None)
    for row in failed.select_columns([name for name in ("path", "error") if name in failed.columns()]).take_all():
        print("failed:", row)
    if args.format == "webdataset":
        features.filter(lambda row: row["error"] is None).map(as_sample).write_webdataset(args.output)
    else:
        features.write_parquet(args.output)
    print(f"{features.count() - failed.count()} rows with features, {failed.count()} failed, in {args.output}")


def as_sample(row: dict) -> dict:
    key = os.path.splitext(os.path.basename(str(row.get("path", row.get("id")))))[0].replace(".", "_")
    return {"__key__": key, "npy": row["features"]}


if __name__ == "__main__":
    main()
