"""from_estimator: what scikit-learn's estimators read and write, against their own transforms and decisions."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import NMF, PCA, FactorAnalysis, FastICA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from despur.core import Site
from despur.core.errors import BadInput, NotFitted, ShapeMismatch
from despur.find import from_estimator

RNG = np.random.default_rng(0)
LATENT = RNG.laplace(size=(300, 3)) ** 2
ROWS = LATENT @ RNG.uniform(size=(3, 8)) + np.geomspace(0.01, 0.2, 8) * RNG.uniform(size=(300, 8)) + 0.5
LABELS = (LATENT[:, 0] > np.median(LATENT[:, 0])).astype(int)
THREE = LABELS + (LATENT[:, 1] > np.median(LATENT[:, 1]))
X = torch.from_numpy(ROWS).float()
DECOMPOSITIONS = [
    PCA(3),
    PCA(3, whiten=True),
    FactorAnalysis(3),
    FastICA(3, random_state=0),
    TruncatedSVD(3),
    NMF(3, tol=1e-9, max_iter=4000),
]


@pytest.fixture(params=DECOMPOSITIONS, ids=str)
def fitted(request):
    return request.param.fit(ROWS)


def test_reading_undoes_writing(fitted):
    factor = from_estimator(fitted, site=Site("model.layers.0"))
    assert (factor.rank, factor.width, factor.site.module) == (3, 8, "model.layers.0")
    assert torch.allclose(factor.read @ factor.write.T, torch.eye(3), atol=1e-4)


def test_it_reads_what_the_estimators_own_transform_reads(fitted):
    ours, own = from_estimator(fitted).encode(X).double().numpy(), fitted.transform(ROWS)
    if isinstance(fitted, FastICA | TruncatedSVD) or (isinstance(fitted, PCA) and not fitted.whiten):
        assert np.allclose(ours, own, atol=1e-4)
    elif isinstance(fitted, PCA):
        assert np.allclose(ours, own * np.sqrt(fitted.explained_variance_), atol=1e-4), "unwhitened"
    elif isinstance(fitted, FactorAnalysis):  # shrunk by one matrix
        shrink = np.linalg.lstsq(ours, own, rcond=None)[0]
        assert np.abs(ours @ shrink - own).max() < 1e-4
        assert np.linalg.norm(shrink, 2) < 1
        pinv = (ROWS - fitted.mean_) @ np.linalg.pinv(fitted.components_)
        other = np.linalg.lstsq(pinv, own, rcond=None)[0]
        assert np.abs(pinv @ other - own).max() > 1e-3, "the control: coordinates of unequal noise taken alike"
    else:  # not negative
        inside = (own > 0.2).all(1)
        assert inside.sum() > 10
        assert np.abs(ours - own)[inside].max() < 0.2


def test_it_writes_what_the_estimators_own_inverse_writes(fitted):
    if not hasattr(fitted, "inverse_transform"):
        return
    factor = from_estimator(fitted)
    own = fitted.inverse_transform(fitted.transform(ROWS))
    ours = (factor.decode(factor.encode(X)) + factor.center).numpy()
    assert np.allclose(ours, own, atol=0.05 if isinstance(fitted, NMF) else 1e-4)


@pytest.mark.parametrize("labels", [LABELS, THREE], ids=["two", "three"])
@pytest.mark.parametrize("probe", [LogisticRegression(max_iter=2000), LinearDiscriminantAnalysis()], ids=str)
def test_a_probe_reads_its_own_decision(probe, labels):
    probe.fit(ROWS, labels)
    factor = from_estimator(probe)
    assert factor.rank == len(np.unique(labels)) - 1, "what adds to all classes tells none apart"
    assert torch.allclose(factor.read @ factor.write.T, torch.eye(factor.rank), atol=1e-5)
    said = probe.decision_function(ROWS)
    back = factor.encode(X).numpy() @ (np.atleast_2d(probe.coef_) @ factor.write.numpy().T).T
    rest = said.reshape(len(ROWS), -1) - back
    assert np.allclose(rest, rest[0], atol=1e-3), "what is left does not hang on the row"
    if factor.rank == 1:
        assert np.allclose(back.ravel(), said, atol=1e-3)
        assert ((factor.encode(X).numpy().ravel() > 0) == probe.predict(ROWS)).mean() > 0.99


def test_a_regression_reads_its_own_prediction():
    ridge = Ridge().fit(ROWS, LATENT[:, 0])
    factor = from_estimator(ridge)
    assert np.allclose(factor.encode(X).numpy().ravel() * np.linalg.norm(ridge.coef_), ridge.predict(ROWS), atol=1e-4)


def test_the_leading_directions_keep_their_coordinates(fitted):
    whole, part = from_estimator(fitted), from_estimator(fitted, rank=2)
    assert torch.equal(part.encode(X), whole.encode(X)[:, :2])
    assert torch.allclose(part.read @ part.write.T, torch.eye(2), atol=1e-4)


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (PCA(2), NotFitted, "PCA was not fitted. Call its fit"),
        (KMeans(2, n_init=1).fit(ROWS), BadInput, "KMeans has neither `components_` nor `coef_`"),
        (make_pipeline(StandardScaler(), PCA(2)).fit(ROWS), BadInput, "not a pipeline"),
        (PLSRegression(1).fit(ROWS, LATENT[:, :1]), BadInput, "does not read rows by `coef_`"),
        (3, BadInput, "got 3; from_estimator takes an estimator"),
        (Ridge().fit(ROWS, np.zeros(300)), BadInput, "zero, dependent or not finite"),
    ],
    ids=["unfitted", "no directions", "pipeline", "centred first", "no estimator", "reads nothing"],
)
def test_faults_are_told(estimator, error, message):
    with pytest.raises(error, match=message):
        from_estimator(estimator)


@pytest.mark.parametrize("rank", [0, 4])
def test_a_rank_that_is_not_there_is_refused(rank):
    with pytest.raises(BadInput, match=f"PCA has 3 directions, but rank={rank} was requested. Take a rank from 1 to 3"):
        from_estimator(PCA(3).fit(ROWS), rank=rank)


def test_another_width_is_refused():
    fitted = PCA(3).fit(ROWS)
    with pytest.raises(ShapeMismatch, match="width d=8"):
        from_estimator(fitted).encode(torch.ones(2, 9))
    fitted.components_ = fitted.components_[:, :5]
    with pytest.raises(ShapeMismatch, match=r"PCA has directions \(3, 5\), and its rows have width 8"):
        from_estimator(fitted)
