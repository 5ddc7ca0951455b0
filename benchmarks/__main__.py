"""``python -m benchmarks``: run every pair and print a table."""

from benchmarks import pairs

if __name__ == "__main__":
    print(f"{'pair':58s} {'slow':>12s} {'fast':>12s} {'ratio':>9s}")
    for pair in (pairs.closed_form_against_root_loop, pairs.operator_against_dense_features, pairs.prompt_laws):
        result = pair()
        print(f"{result.name:58s} {result.slow:10.3g} s {result.fast:10.3g} s {result.slow / result.fast:9.0f}")
    print(f"\n10^6 points, all quantities: {pairs.million_points():.2f} s")
