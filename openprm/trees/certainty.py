"""How certain the values of nodes are: that of a node with few responses is mostly noise.

The rewards of the responses that go on from a parent through one child are taken for draws of a Dirichlet process. Its
base is what is known of the parent's rewards, its weight is `a` responses (Ferguson, Annals of Statistics, 1973). So a
child is known from its n responses and, as if there were `a` more, from its parent. With the means V of its rewards
and Q of their squares, and m and q of its parent, from the root down:

    mean = (n V + a m) / (n + a)      square = (n Q + a q) / (n + a)
    variance of the true value = (square - mean^2) / (n + a + 1)

The mean is the value shrunken towards the parent's (empirical Bayes). For rewards 0 and 1 this is the beta-binomial
posterior under the prior Beta(a m, a (1 - m)); nothing in it needs such rewards.

`a` is one number a source. The share of the variance at a parent that lies between the true values of its children is
1 / (1 + a), the intraclass correlation, here by the analysis of variance (Searle, Casella and McCulloch, Variance
Components, 1992, chapter 3). With N responses in k children of n_i each, sums of squares within and among these,
divided by the variance of the N rewards, and sums over all parents whose responses differ in reward:

    noise = sum within / sum (N - k)
    true = (sum among - noise sum (k - 1)) / sum (N - sum_i n_i^2 / N)
    a = noise / true
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist, fmean, variance

from ..schema import Tree
from .tree import rewards_through, siblings


@dataclass(frozen=True)
class Known:
    """What is known of a node's true value: `mean`, the shrunken value, and `square`, from `weight` responses."""

    mean: float
    square: float
    weight: float

    @property
    def variance(self) -> float:
        return max(0.0, self.square - self.mean**2) / (self.weight + 1)


def priors(trees: Iterable[Tree]) -> dict[str, float]:
    """`a` of each source, in responses; infinite where siblings differ by no more than noise. Reads the trees once.

    Where every node has a single response, noise and truth cannot be told apart: all is taken for noise.
    """
    sums: dict[str, list[tuple[float, ...]]] = {}
    for tree in trees:
        rows = sums.setdefault(tree["source"], [])
        for nodes in siblings(tree):
            rewards = [rewards_through(tree, node) for node in nodes]
            every = [reward for some in rewards for reward in some]
            n, scale = len(every), variance(every)
            if scale:
                mean = fmean(every)
                among = math.fsum(len(some) * (fmean(some) - mean) ** 2 for some in rewards) / scale
                size = n - sum(len(some) ** 2 for some in rewards) / n
                rows.append((max(0.0, n - 1 - among), n - len(nodes), among, len(nodes) - 1, size))
    found = {}
    for source, rows in sums.items():
        within, more, among, fewer, size = map(math.fsum, zip(*rows, strict=True)) if rows else [0.0] * 5
        noise = within / more if more else 1.0
        true = (among - noise * fewer) / size if size else 0.0
        found[source] = noise / true if true > 0 else math.inf
    return found


def known(tree: Tree, prior: float) -> list[Known]:
    """What is known of each node, by id; `prior` is the `a` of the tree's source."""
    found: list[Known] = []
    for node in tree["nodes"]:  # a parent comes before its children
        rewards = rewards_through(tree, node)
        n, value, square = len(rewards), fmean(rewards), fmean(reward**2 for reward in rewards)
        if node["parent"] is None:
            found.append(Known(value, square, n))
            continue
        above, own = found[node["parent"]], n / (n + prior)
        value, square = above.mean + (value - above.mean) * own, above.square + (square - above.square) * own
        found.append(Known(value, square, n + prior))
    return found


def certainty(better: Known, worse: Known) -> float:
    """The probability that the true value of `better` is the higher one, from normal distributions of the two.

    To six digits, so that it is the same on any machine.
    """
    gap, spread = better.mean - worse.mean, better.variance + worse.variance
    if spread:
        return round(NormalDist().cdf(gap / math.sqrt(spread)), 6)
    return 0.5 if not gap else float(gap > 0)
