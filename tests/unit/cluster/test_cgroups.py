"""Which cgroups a node may use, as machines with either version show them."""

from pathlib import Path

from cluster import cgroups


def _mounts(tmp_path: Path, *entries: tuple[str, str, str]) -> Path:
    file = tmp_path / "mountinfo"
    for place, _, _ in entries:
        (tmp_path / place).mkdir(parents=True)
    file.write_text(
        "".join(
            f"30 25 0:26 / {tmp_path / place} rw,relatime - {kind} {kind} rw,{options}\n"
            for place, kind, options in entries
        )
    )
    return file


def test_all_hierarchies_of_version_1_are_used(tmp_path: Path) -> None:
    mounts = _mounts(
        tmp_path,
        ("cpu", "cgroup", "cpu,cpuacct"),
        ("cpuset", "cgroup", "cpuset"),
        ("memory", "cgroup", "memory"),
        ("pids", "cgroup", "pids"),
        ("unified", "cgroup2", "nsdelegate"),
    )
    assert [path.name for path in cgroups.hierarchies(mounts)] == ["cpu", "cpuset", "memory", "pids"]


def test_version_2_is_used_where_it_has_the_controllers(tmp_path: Path) -> None:
    mounts = _mounts(tmp_path, ("unified", "cgroup2", "nsdelegate"))
    (tmp_path / "unified/cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    assert cgroups.hierarchies(mounts, lambda place: True) == [tmp_path / "unified"]


def test_version_2_that_hands_no_controllers_on_is_of_no_use(tmp_path: Path) -> None:
    mounts = _mounts(tmp_path, ("unified", "cgroup2", "nsdelegate"))
    (tmp_path / "unified/cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    assert cgroups.hierarchies(mounts) == []


def test_version_2_without_controllers_is_of_no_use(tmp_path: Path) -> None:
    mounts = _mounts(tmp_path, ("unified", "cgroup2", "nsdelegate"))
    (tmp_path / "unified/cgroup.controllers").write_text("hugetlb\n")
    assert cgroups.hierarchies(mounts) == []


def test_what_a_killed_keeper_left_is_swept_and_a_living_ones_stays(tmp_path: Path) -> None:
    alive = tmp_path / cgroups.name_for(1)
    dead = tmp_path / cgroups.name_for(2**22 + 1)
    for cgroup in (alive, dead):
        (cgroup / "kubepods/pod").mkdir(parents=True)
    cgroups.sweep([tmp_path])
    assert alive.exists()
    assert not dead.exists()
