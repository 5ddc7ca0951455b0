r"""The functional of an ansatz, for any one-body log-partition functions.

Lambda_s(h, k) = ln int dmu(s) exp(-k s^2/2 + h s) of one spin, Lambda_p(y, w, V) = ln < exp(-g l(y, f)) > over
f ~ N(w, V) of one prompt. Replica-symmetric Gaussians are a field common to all replicas plus an independent part in
each (Hubbard and Stratonovich), so n replicas in one field give exp(n Lambda):

    prompts:   E prod_a exp(-g l(y, f^a)) = E_{t, w} exp(n Lambda_p(y, w, a Delta)),     f^a = w + (a Delta)^(1/2) z^a
    spins:     int prod_a dmu(s_a) exp(-sum_ab Qh_ab s_a s_b/2) = E_h exp(n Lambda_s(h, k)),        h ~ N(0, q_hat)
    diagonal:  D spins of size D^(1/2): the extremum of m_hat w - k w^2/2 - betahat r_d(w)

and n -> 0 leaves averages of Lambda. In units of the temperature q_hat = Q/T^2, k = K/T, m_hat = M/T, Delta = T chi,
and -T phi is the sum of one-body free energies (`replica.one_body`).
"""

from dataclasses import dataclass

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.ansatz import ReplicaSymmetric
from iclglass.replica.averages import LAWS, Average, GaussianLaw, OneBody, linear
from iclglass.replica.guarded_limit import value_at_zero
from iclglass.replica.one_body import DiagonalFree, PromptFree, SpinFree

__all__ = ["SYMMETRIC", "Functional", "LogDiagonal", "LogPrompt", "LogSpin", "SpinClass", "Symmetric", "functional"]

FIELD = GaussianLaw("spins", (S.field,), sp.Matrix([[S.q_hat]]))
"""The field on one spin in units of the temperature."""
UNITS = {S.k_hat: S.K / S.T, S.q_hat: S.Q / S.T**2, S.m_hat: S.M / S.T, S.Delta: S.T * S.chi}
"""The same quantities in units that stay finite as T -> 0."""
_OFF_DIAGONAL, _ON_DIAGONAL = "off the diagonal", "diagonal"


class LogSpin(OneBody):
    """Lambda_s(h, k) of one spin off the diagonal."""


class LogPrompt(OneBody):
    """Lambda_p(t, w, V) of one prompt, the label made of t and noise."""


class LogDiagonal(OneBody):
    """Extremum over w of m_hat w - k w^2/2 - betahat r_d(w), of the diagonal."""


class Symmetric:
    """Replica symmetry: Q_ab = q + Delta delta_ab, the same m in every replica."""

    overlaps = ReplicaSymmetric(S.Delta, S.q, S.n)
    fields = ReplicaSymmetric(S.k_hat, -S.q_hat, S.n)

    def constraints(self) -> sp.Expr:
        """lim (1/n) of (1/2) Tr Qh Q - n m_hat m."""
        return self.without_replicas((self.fields @ self.overlaps).trace() / 2 - S.n * S.m_hat * S.m)

    def in_common_field(self, log_partition: sp.Expr, law: GaussianLaw) -> sp.Expr:
        """lim (1/n) ln E[exp(n Lambda)] of replicas that share one field."""
        one = sp.Dummy("Lambda", real=True)
        replicated = sp.exp(S.n * one)
        # ln E is 0 at n = 0, where the average of 1 is 1; its slope there is the limit.
        slope = value_at_zero(sp.diff(replicated, S.n), S.n) / value_at_zero(replicated, S.n)
        return linear(Average(slope.subs(one, log_partition), law))

    def precision(self) -> sp.Expr:
        """k in lim (1/n) sum_ab Qh_ab w^2 = k w^2: what large spins see, the same in every replica."""
        return self.without_replicas(self.fields.sum_of_entries())

    @staticmethod
    def without_replicas(expression: sp.Expr) -> sp.Expr:
        """lim expression/n for what is a polynomial in n without a constant."""
        return sp.expand(value_at_zero(sp.expand(expression / S.n), S.n))


SYMMETRIC = Symmetric()


@dataclass(frozen=True)
class SpinClass:
    """Spins of one kind.

    Attributes
    ----------
    name
        For headings.
    log_partition
        ln of the integral over one of them: of order one and D^2 in number, in the field S.field; or D of size
        D^(1/2), an extremum.
    large
        Whether they are the latter.
    """

    name: str
    log_partition: sp.Expr
    large: bool


def classes(ansatz: Symmetric) -> tuple[SpinClass, ...]:
    """Spins off the diagonal and on it, whatever their measures."""
    return (
        SpinClass(_OFF_DIAGONAL, LogSpin(S.field, S.k_hat), large=False),
        SpinClass(_ON_DIAGONAL, LogDiagonal(ansatz.precision(), S.m_hat), large=True),
    )


@dataclass(frozen=True)
class Functional:
    """phi = lim E ln Z/D^2 before its extremum over all that is in it.

    Attributes
    ----------
    constraints
        What ties overlaps to their conjugate fields.
    spins
        One term a class of spins.
    prompts
        tau E[Lambda_p].
    """

    constraints: sp.Expr
    spins: tuple[sp.Expr, ...]
    prompts: sp.Expr

    @property
    def phi(self) -> sp.Expr:
        """The sum."""
        return self.constraints + sp.Add(*self.spins) + self.prompts

    def free_energy(self) -> sp.Expr:
        """-T phi in K, M, Q and chi, with the free energies of one body; regular as T -> 0."""

        def in_units(average: sp.Expr) -> sp.Expr:
            if average.integrand.has(LogSpin):
                return Average(-SpinFree(S.field, S.K) / S.T, "spins")
            return Average(-PromptFree(S.t, S.f_cav, S.a * S.chi / S.tau) / (S.tau * S.T), "prompts")

        phi = self.phi.replace(lambda part: isinstance(part, Average), in_units)
        phi = phi.replace(LogDiagonal, lambda k, m_hat: -DiagonalFree(S.K, S.M) / S.T)
        return linear(sp.expand(-S.T * phi.subs(UNITS)))


def functional(
    ansatz: Symmetric = SYMMETRIC,
    spins: tuple[SpinClass, ...] | None = None,
    prompt: sp.Expr | None = None,
    law: GaussianLaw = LAWS["prompts"],
) -> Functional:
    """The functional of an ansatz for classes of spins and a prompt.

    Parameters
    ----------
    ansatz
        How replicas group.
    spins
        Classes of spins; default: any measures off the diagonal and on it.
    prompt
        Lambda_p; default: that of any loss.
    law
        The law of prompts, of which Lambda_p is averaged.

    Examples
    --------
    >>> functional().prompts
    tau*E_prompts[LogPrompt(t, f_cav, Delta*a)]
    """
    one_prompt = LogPrompt(S.t, S.f_cav, S.a * ansatz.overlaps.excess) if prompt is None else prompt
    return Functional(
        constraints=ansatz.constraints(),
        spins=tuple(
            spin.log_partition if spin.large else ansatz.in_common_field(spin.log_partition, FIELD)
            for spin in (classes(ansatz) if spins is None else spins)
        ),
        prompts=S.tau * ansatz.in_common_field(one_prompt, law),
    )
