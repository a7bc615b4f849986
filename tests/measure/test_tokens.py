"""Token use: a habit that is the same in every context is told from a change that is another in each."""

import pytest
import torch

from despur.core.errors import BadInput
from despur.measure import TokenShift, token_shift


def test_change_is_the_kl_and_the_marginal_a_share_of_it(writer, rows):
    model = writer()
    seen = token_shift(model, rows)
    with torch.no_grad():
        change, count = 0.0, 0
        for row in rows:
            ids = torch.tensor([row])
            tuned = model(input_ids=ids).logits.log_softmax(-1)
            with model.disable_adapter():
                base = model(input_ids=ids).logits.log_softmax(-1)
            change += float((tuned.exp() * (tuned - base)).sum())
            count += len(row)
    assert seen.change == pytest.approx(change / count, rel=1e-4)
    assert 0 <= seen.marginal <= seen.change * (1 + 1e-6), "the KL of the means is at most the mean of the KLs"
    assert float(seen.before.sum()) == pytest.approx(1, abs=1e-4)
    assert float(seen.after.sum()) == pytest.approx(1, abs=1e-4)


def test_the_batch_does_not_matter(writer, rows):
    model = writer()
    whole, parts = (token_shift(model, rows, batch=b) for b in (len(rows), 7))
    assert parts.change == pytest.approx(whole.change, rel=1e-4)
    assert parts.marginal == pytest.approx(whole.marginal, rel=1e-3)
    torch.testing.assert_close(parts.after, whole.after, atol=1e-6, rtol=1e-4)


def test_a_habit_is_all_marginal_and_scatter_is_not(tiny, writer, rows):
    class Habit(torch.nn.Module):
        """Shifts the logits: by one vector everywhere, or by one that depends on the context."""

        def __init__(self, base, alike):
            super().__init__()
            self.base, self.alike, self.on = base, alike, True
            self.config = base.config
            self.bias = torch.randn(base.config.vocab_size, generator=torch.Generator().manual_seed(0))
            base.get_output_embeddings().register_forward_hook(self.shift)

        def get_base_model(self):
            return self.base

        def disable_adapter(self):
            import contextlib

            @contextlib.contextmanager
            def off():
                self.on = False
                try:
                    yield
                finally:
                    self.on = True

            return off()

        def forward(self, **call):
            return self.base(**call)

        def shift(self, _, args, logits):
            if not self.on:
                return logits
            return logits + (1 if self.alike else args[0][..., :1].sign()) * self.bias

    alike, scattered = (token_shift(Habit(tiny(), a), rows).share for a in (True, False))
    assert alike > 0.9
    assert scattered < 0.5 * alike


def test_positions_before_the_start_do_not_count(writer, rows):
    model = writer()
    late = token_shift(model, rows, starts=[len(r) - 1 for r in rows])
    assert late.change != pytest.approx(token_shift(model, rows).change, rel=1e-3)
    assert late.most(3)[0][2] != late.most(3)[0][1]


def test_no_rows_is_an_error(writer):
    with pytest.raises(BadInput, match="no rows"):
        token_shift(writer(), [])


def test_a_rare_word_that_becomes_common_comes_before_a_common_one_that_changes_as_much():
    before, after = torch.tensor([0.5, 0.299, 0.2, 0.001]), torch.tensor([0.48, 0.3, 0.2, 0.02])
    assert [token for token, _, _ in TokenShift(1.0, 0.1, before, after).most(2)] == [3, 0]
