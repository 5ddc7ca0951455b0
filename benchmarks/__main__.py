"""``python -m benchmarks [large]``: run every pair and print a table; ``large`` adds the solve at 40200 spins."""

import sys

from benchmarks import instance, pairs, samplers

if __name__ == "__main__":
    print(f"{'pair':58s} {'slow':>12s} {'fast':>12s} {'ratio':>9s}")

    def show(result: pairs.Pair) -> None:
        print(f"{result.name:58s} {result.slow:10.3g} s {result.fast:10.3g} s {result.slow / result.fast:9.3g}")

    for pair in (pairs.closed_form_against_root_loop, pairs.operator_against_dense_features, pairs.prompt_laws):
        show(pair())
    footprint = instance.from_nothing()
    show(footprint.time)
    megabytes = footprint.slow_memory / 1e6, footprint.fast_memory / 1e6
    print(f"{'  peak memory':58s} {megabytes[0]:9.3g} MB {megabytes[1]:9.3g} MB {megabytes[0] / megabytes[1]:9.3g}")
    for result in (instance.ridge_regression(7200), instance.ridge_regression(1500)):
        if result is None:
            print("scikit-learn is not installed: pip install 'iclglass[benchmarks]' adds its ridge regression")
            break
        show(result)
    print(f"\n10^6 points, all quantities: {pairs.million_points():.2f} s")
    for dimension in (10, 20):
        print(f"\n{'effective samples of the worst spin, four chains':58s} {'ESS':>12s} {'time':>12s} {'ESS/s':>9s}")
        for rate in samplers.effective_samples(dimension):
            name = f"{rate.name}, n = {rate.spins}"
            print(f"{name:58s} {rate.effective:12.0f} {rate.seconds:10.3g} s {rate.rate:9.3g}")
    print(f"\n{samplers.large_exact()}")
    if "large" in sys.argv[1:]:
        print(instance.large_instance())
