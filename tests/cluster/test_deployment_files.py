"""The files that bring the service up elsewhere: whatever can be checked of them without an engine or a cluster."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas_service.commands.root import root as nas

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("Dockerfile.*"))
KUBERNETES = ROOT / "cluster" / "kubernetes"
UNITS = sorted(
    [*(ROOT / "cluster" / "systemd").glob("*.service"), *(ROOT / "edge_agent" / "service").glob("*.service")]
)
YAML_FILES = sorted([*(ROOT / "docker").glob("*.yaml"), *(ROOT / "cluster").rglob("*.yaml")])
PAGE = ROOT / "docs" / "deployment.md"
TEXTS = [*DOCKERFILES, *UNITS, *YAML_FILES, PAGE]

# Keys of KubeRay's API ray.io/v1
CLUSTER_KEYS = {
    "rayVersion", "headGroupSpec", "workerGroupSpecs", "enableInTreeAutoscaling", "autoscalerOptions",
    "headServiceAnnotations", "suspend",
}  # fmt: skip
HEAD_KEYS = {"serviceType", "headService", "enableIngress", "rayStartParams", "template"}
WORKER_KEYS = {
    "groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts", "rayStartParams", "template", "scaleStrategy",
}  # fmt: skip


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def instructions(path: Path, keyword: str) -> list[str]:
    """Return the arguments of a Dockerfile's instructions of one kind, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", path.read_text())
    return [line.partition(" ")[2].strip() for line in text.splitlines() if line.startswith(f"{keyword} ")]


def known_options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def used_options(text: str, command: str) -> set[str]:
    """Return the long options that follow `command` in a text, on its line or the lines that go on with options."""
    text = re.sub(r"(?m)^HEALTHCHECK .*", "", text)
    text = re.sub(r'[",\[\]]', " ", re.sub(r"\\\n", " ", text))
    found = re.findall(rf"\b{command}\b((?:\s+(?:- )?(?:--[a-z]|[\w$./{{~])\S*)*)", text)
    return {option for words in found for option in re.findall(r"--[a-z-]+", words)}


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def ray_cluster() -> Any:
    return documents(KUBERNETES / "raycluster.yaml")[0]


def groups() -> list[Any]:
    spec = ray_cluster()["spec"]
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def compose() -> Any:
    return documents(ROOT / "docker" / "compose.yaml")[0]


@pytest.mark.parametrize("path", YAML_FILES, ids=name_of)
def test_yaml_files_hold_mappings(path):
    assert all(isinstance(document, dict) and document for document in documents(path))


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_options_of_nas_up_exist(path):
    assert used_options(path.read_text(), "up") <= known_options(nas.commands["up"]) | {
        "--build", "--profile", "--scale",  # docker compose up
    }  # fmt: skip


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_options_of_ray_start_exist(path):
    from ray.scripts.scripts import start

    assert used_options(path.read_text(), "start") <= known_options(start) | {"--now"}


def test_the_search_for_options_finds_them():
    assert used_options('CMD ["up", "--block", \\\n "--ray-port", "1"]', "up") == {"--block", "--ray-port"}
    assert used_options("- up\n  - --block\n  - --api-port=1\n", "up") == {"--block", "--api-port"}
    assert used_options("nas up --wrong 0.0.0.0 --gateway-port 1", "up") == {"--wrong", "--gateway-port"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=name_of)
def test_images_are_pinned_unprivileged_and_watched(path):
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", *instructions(path, "FROM"))
    assert instructions(path, "USER")[-1] in ("nas", "nas-edge")
    assert len(instructions(path, "HEALTHCHECK")) == len(instructions(path, "ENTRYPOINT")) == 1


@pytest.mark.parametrize("path", DOCKERFILES, ids=name_of)
def test_images_copy_what_exists_and_what_the_build_is_given(path):
    copied = [source for line in instructions(path, "COPY") for source in line.split()[:-1]]
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert all((ROOT / source).exists() for source in copied)
    assert {f"!{source}" for source in copied} == {line for line in ignore if line.startswith("!")}
    assert "*" in ignore


@pytest.mark.parametrize("path", DOCKERFILES, ids=name_of)
def test_images_hold_no_secret(path):
    settings = " ".join(instructions(path, "ENV") + instructions(path, "ARG"))
    assert not re.search(r"(token|password|secret|key)\w*=", settings, re.IGNORECASE)


def test_head_and_worker_agree_on_python_ray_and_torch():
    head, worker = (ROOT / "docker" / f"Dockerfile.{name}" for name in ("head", "worker"))
    versions = [line for line in instructions(head, "ARG") if "_VERSION" in line]
    assert instructions(head, "FROM") == instructions(worker, "FROM")
    assert versions == [line for line in instructions(worker, "ARG") if "_VERSION" in line]
    assert f"RAY_VERSION={ray_cluster()['spec']['rayVersion']}" in versions


def test_the_boards_image_has_the_base_dependencies_only():
    assert "service]" not in (ROOT / "docker" / "Dockerfile.edge").read_text()


def test_the_boards_health_check_sees_whether_an_agent_holds_the_lock(tmp_path):
    line = instructions(ROOT / "docker" / "Dockerfile.edge", "HEALTHCHECK")[0]
    command = yaml.safe_load(line.partition("CMD ")[2])

    def healthy() -> bool:
        environment = {**os.environ, "NAS_EDGE_HOME": str(tmp_path)}
        return subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode == 0

    assert not healthy()
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert healthy()
    assert not healthy()


def test_compose_refers_to_what_it_declares():
    file = compose()
    for service in file["services"].values():
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()
        assert set(service.get("secrets", [])) <= set(file["secrets"])
        named = {volume.partition(":")[0] for volume in service.get("volumes", []) if volume[0].isalpha()}
        assert named <= set(file["volumes"])
        assert set(service.get("depends_on", {})) <= set(file["services"])


def test_only_the_boards_port_is_open_to_other_machines():
    ports = compose()["services"]["head"]["ports"]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["2222:2222"]
    assert not any("ports" in service for name, service in compose()["services"].items() if name != "head")


def test_secrets_are_files_that_git_ignores():
    assert all(secret["file"].startswith("./secrets/") for secret in compose()["secrets"].values())
    assert {"secrets/", ".env"} <= set((ROOT / ".gitignore").read_text().splitlines())


def test_rays_launcher_takes_the_list_of_machines():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = documents(ROOT / "cluster" / "ray" / "on-premise.yaml")[0]
    prepared = prepare_config(config)
    validate_config(prepared)
    (machines,) = prepared["available_node_types"].values()
    assert machines["min_workers"] == machines["max_workers"] == len(config["provider"]["worker_ips"])


def test_the_ray_cluster_has_keys_that_kuberay_knows():
    cluster = ray_cluster()
    head, *workers = groups()
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    assert cluster["metadata"]["annotations"] == {"ray.io/overwrite-container-cmd": "true"}
    assert set(cluster["spec"]) <= CLUSTER_KEYS
    assert {"rayStartParams", "template"} <= set(head) <= HEAD_KEYS
    assert all({"groupName", "rayStartParams", "template"} <= set(worker) <= WORKER_KEYS for worker in workers)


def test_pods_run_unprivileged_and_mount_what_they_declare():
    for group in groups():
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


def test_pods_refer_to_claims_and_secrets_that_are_made():
    claims = {claim["metadata"]["name"] for claim in documents(KUBERNETES / "storage.yaml")}
    (generator,) = documents(KUBERNETES / "kustomization.yaml")[0]["secretGenerator"]
    volumes = [volume for group in groups() for volume in group["template"]["spec"]["volumes"]]
    assert {v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v} == claims
    assert {v["secret"]["secretName"] for v in volumes if "secret" in v} == {generator["name"]}
    environment = groups()[1]["template"]["spec"]["containers"][0]["env"]
    (reference,) = [e["valueFrom"]["secretKeyRef"] for e in environment if "valueFrom" in e]
    assert (reference["name"], f"{reference['key']}=secrets/ray_token") == (generator["name"], generator["files"][0])


def test_the_boards_service_leads_to_the_heads_gateway():
    service = documents(KUBERNETES / "gateway-service.yaml")[0]["spec"]
    container = groups()[0]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert service["selector"] == {"ray.io/cluster": ray_cluster()["metadata"]["name"], "ray.io/node-type": "head"}
    assert f"--gateway-port={ports[service['ports'][0]['targetPort']]}" in container["args"]
    assert f"--api-port={ports['api']}" in container["args"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_the_folder(tmp_path):
    folder = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, folder, ignore=shutil.ignore_patterns("secrets"))
    (folder / "secrets").mkdir()
    (folder / "secrets" / "ray_token").write_text("ab" * 32)
    built = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True).stdout
    kinds = sorted(document["kind"] for document in yaml.safe_load_all(built))
    assert kinds == ["Namespace", *["PersistentVolumeClaim"] * 2, "RayCluster", "Secret", "Service"]
    assert "image: biglittle-nas-head:0.1.0" in built


@pytest.mark.parametrize("path", UNITS, ids=name_of)
def test_units_start_commands_of_ours(path):
    (line,) = [line for line in path.read_text().splitlines() if line.startswith("ExecStart=")]
    program, verb = shlex.split(line.partition("=")[2])[:2]
    scripts = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[2]
    assert Path(program).name == "ray" or f"\n{Path(program).name} = " in scripts
    assert verb in ("up", "run", "start")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("path", UNITS, ids=name_of)
def test_systemd_accepts_the_units(path, tmp_path):
    unit = tmp_path / path.name
    unit.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", path.read_text()))
    checked = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_page_names_files_that_exist_and_says_what_was_not_run():
    text = PAGE.read_text()
    named = set(re.findall(r"(?<![\w/])(?:docker|cluster|edge_agent|docs)/[\w./-]*\w", text))
    named -= {"docker/data", "docker/.env"}
    assert len(named) > 5
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    assert "## What was not run" in text
