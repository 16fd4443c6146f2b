"""What tests do where there can be no cluster, and where there is one already."""

from pathlib import Path

import pytest

from clusters import node_or_existing, started_or_skipped


def test_a_machine_that_cannot_skips_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="no control-plane cluster here: setpriv is not on PATH"):
        started_or_skipped("control-plane").__enter__()


def test_a_developers_own_cluster_is_used_and_not_broken(tmp_path: Path) -> None:
    environment = {"SELFIE_TEST_CLUSTER": "existing", "KUBECONFIG": str(tmp_path / "config")}
    with node_or_existing(environment) as cluster:
        assert cluster.kubeconfig == tmp_path / "config"
        with pytest.raises(pytest.skip.Exception, match="not its own"):
            cluster.breakable()
