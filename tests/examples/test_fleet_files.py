"""examples/fleet: an image, a compose file, manifests and a unit, held to what is usual for them."""

import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml

from gotsurge_async.auth.sealing import read_private
from gotsurge_async.cli.app import gotsurge
from gotsurge_async.version import __version__
from tests.cli.test_page import found
from tests.examples.fleet_files import (
    COMPOSE,
    DAILY,
    DOCKERFILE,
    FLEET,
    KUBERNETES,
    ROOT,
    UNIT,
    Command,
    compose,
    compose_commands,
    containers,
    kubernetes_commands,
    manifest,
    manifests,
    pods,
    told_commands,
    unit,
    unit_command,
)
from tests.examples.kubernetes_rules import SPECS, faults_of, open_in, pods_in

COMMANDS = [*compose_commands(), *kubernetes_commands(), unit_command(), *told_commands()]
SECRET = re.compile(r"(PASSWORD|SECRET|TOKEN_KEYS|CLIENT_KEY|BEARER)", re.IGNORECASE)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.name}: {' '.join(command.words)}")
def test_a_command_is_one_that_the_program_takes(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is parsed as it would be when it is started, with the variables that the file sets."""
    for name, value in command.variables.items():
        monkeypatch.setenv(name, value)
    leaf, name, rest = found(command.words)
    above = click.Context(gotsurge, **gotsurge.context_settings)  # a command remembers the names of its help
    with leaf.make_context(name, list(rest), above) as context:
        assert context.invoked_subcommand is None
    with pytest.raises(click.UsageError):
        leaf.make_context(name, [*rest, "--no-such-option"], above)


# --- the image -------------------------------------------------------------------------------------------------------


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, each on one line, without comments."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0].upper(), line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


def faults_of_image(text: str) -> list[str]:
    """What hadolint, and whoever looks after images, would say of a Dockerfile."""
    steps = instructions(text)
    stages = [position for position, (verb, _) in enumerate(steps) if verb == "FROM"]
    named = {rest.split()[2] for verb, rest in steps if verb == "FROM" and " AS " in rest}
    last = steps[stages[-1] :]
    faults = [] if len(stages) > 1 else ["what builds is shipped, too: use two stages"]
    for verb, rest in steps:
        if verb == "FROM" and (":" not in rest.split()[0] or rest.split()[0].endswith(":latest")):
            faults.append(f"the version is not said: {rest}")
        if verb in ("ADD", "MAINTAINER", "ONBUILD"):
            faults.append(f"{verb} is not used any more")
        if verb in ("RUN", "CMD", "ENTRYPOINT") and not rest.startswith("["):
            faults.append(f"a shell is between: {verb} {rest}")
        if verb == "WORKDIR" and not rest.startswith("/"):
            faults.append(f"it depends on what was before: WORKDIR {rest}")
        if verb in ("ENV", "ARG") and SECRET.search(rest):
            faults.append(f"a secret stays in the image: {verb} {rest}")
        if verb == "COPY" and (source := re.search(r"--from=(\S+)", rest)) and source[1] not in named:
            faults.append(f"there is no such stage: {source[1]}")
        if verb == "COPY" and re.match(r"\. ", rest):
            faults.append("everything is copied, also what is secret")
        if "pip" in rest and "install" in rest and "--no-cache-dir" not in rest:
            faults.append("pip leaves its cache behind")
        if "sudo" in rest.split():
            faults.append("sudo has no place in it")
    users = [rest for verb, rest in last if verb == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d{3,}(:[1-9]\d{3,})?", users[-1]):
        faults.append("it runs as root, or as somebody whose number is not seen")
    faults += [f"one {verb}" for verb in ("CMD", "ENTRYPOINT") if [each for each, _ in last].count(verb) != 1]
    return faults


def test_the_image_is_made_as_it_should_be() -> None:
    """Two stages, versions, no shell between, no secret, not root."""
    assert faults_of_image(DOCKERFILE.read_text(encoding="utf-8")) == []


def test_the_image_is_made_of_what_there_is() -> None:
    """What is copied is there, and is not kept from the builder; the extras are those of the project."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    ignored = (FLEET / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source
        for verb, rest in instructions(text)
        if verb == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"README.md", *project["license-files"], "pyproject.toml", "gotsurge_async"} == copied
    for file in (DOCKERFILE, UNIT):
        (extras,) = re.findall(r"[.c]\[([a-z,]+)\]", file.read_text(encoding="utf-8"))
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
        assert {"cli", "fleet", "metrics", "postgresql"} <= set(extras.split(","))


# --- compose ---------------------------------------------------------------------------------------------------------


def test_the_compose_file_is_whole() -> None:
    """A simulator, PostgreSQL and three workers; each waits for what it needs, and what is used is there."""
    read = compose()
    services = read["services"]
    assert services["worker"]["deploy"]["replicas"] == 3
    for name, service in services.items():
        waits = service.get("depends_on", {})
        assert set(waits) <= set(services), name
        for other, how in waits.items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for the health of {other}, which says nothing"
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in read["volumes"] or (FLEET / source).exists(), volume
        assert not re.search(r":latest$", service["image"])
        build = service.get("build")
        if build is not None:
            context = (FLEET / build["context"]).resolve()
            assert context == ROOT
            assert (context / build["dockerfile"]) == DOCKERFILE
    allowed = {"name", "services", "volumes", "x-gotsurge"}
    assert set(read) == allowed


def test_ours_run_closed_in_compose() -> None:
    """No root that can be written to, no capability, no new right; nothing is reached from outside."""
    for name, service in compose()["services"].items():
        assert "ports" not in service, name
        assert not service.get("privileged"), name
        assert "no-new-privileges:true" in service["security_opt"]
        if service["image"].startswith("gotsurge"):
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]


def test_docker_takes_the_compose_file() -> None:
    """Where Docker has compose, it reads the file as we do; elsewhere our own reading must do."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode != 0:
        assert set(compose()["services"]) == {"postgres", "simulator", "upgrade", "worker", "push"}
        return
    words = [docker, "compose", "-f", str(COMPOSE), "--profile", "push", "config"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert set(yaml.safe_load(shown)["services"]) == set(compose()["services"])


# --- Kubernetes ------------------------------------------------------------------------------------------------------


def test_kubernetes_takes_the_manifests() -> None:
    """Each object fits the schema of its kind, and is in the namespace of all."""
    assert [fault for each in manifests() for fault in faults_of(each)] == []
    assert {each["kind"] for each in manifests()} == {*SPECS, "ConfigMap", "Namespace"}
    for each in manifests():
        assert each["kind"] == "Namespace" or each["metadata"]["namespace"] == "gotsurge"


def test_the_manifests_fit_together() -> None:
    """Selectors find their pods, claims and settings are there, and a Job gives up only where a person must look."""
    deployment = manifest("Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    claims = {each["metadata"]["name"] for each in manifests() if each["kind"] == "PersistentVolumeClaim"}
    claimed = {
        volume["persistentVolumeClaim"]["claimName"]
        for pod in pods()
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claimed == claims
    for job in (manifest("Job", "gotsurge-load")["spec"], manifest("CronJob")["spec"]["jobTemplate"]["spec"]):
        pod = job["template"]["spec"]
        assert pod["restartPolicy"] == "Never"  # what podFailurePolicy asks for
        (rule,) = job["podFailurePolicy"]["rules"]
        assert rule["onExitCodes"]["containerName"] in [each["name"] for each in pod["containers"]]
        assert not {0, 8, 75} & set(rule["onExitCodes"]["values"])


def test_orders_are_in_no_object_of_kubernetes() -> None:
    """The Job reads them from a volume, and cannot change them."""
    (load,) = [each for each in containers() if each["name"] == "load"]
    (mount,) = [each for each in load["volumeMounts"] if each["mountPath"] == "/orders"]
    assert mount["readOnly"] is True
    assert [each["metadata"]["name"] for each in manifests() if each["kind"] == "ConfigMap"] == ["gotsurge"]


def test_pods_run_closed() -> None:
    """As the profile `restricted` of Kubernetes asks, and with a root that cannot be written to."""
    for pod in pods():
        assert open_in(pod) == []
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsUser"] == int(re.findall(r"USER (\d+)", DOCKERFILE.read_text())[0])
        for each in (*pod["initContainers"], *pod["containers"]):
            assert each["image"].endswith(f":{__version__}")
    assert manifest("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_nothing_passes_the_network_but_what_is_named() -> None:
    """The policy is for all pods and both ways; in come reads of metrics, out go names, HTTPS, PostgreSQL."""
    policy = manifest("NetworkPolicy")["spec"]
    assert (policy["podSelector"], set(policy["policyTypes"])) == ({}, {"Ingress", "Egress"})
    ports = {way: {port["port"] for rule in policy[way] for port in rule["ports"]} for way in ("ingress", "egress")}
    assert ports == {"ingress": {9464}, "egress": {53, 443, 5432}}
    assert all("from" in rule for rule in policy["ingress"])


def test_what_is_mounted_is_there() -> None:
    """Each place of a container is a volume of its pod, and each pod may write where the command must."""
    for pod in pods():
        volumes = {each["name"] for each in pod["volumes"]}
        for each in (*pod["initContainers"], *pod["containers"]):
            assert {mount["name"] for mount in each["volumeMounts"]} <= volumes
        for each in pod["containers"]:
            assert {"/tmp", "/var/lib/gotsurge"} <= {mount["mountPath"] for mount in each["volumeMounts"]}


def test_secrets_stand_in_no_file_and_no_variable() -> None:
    """Manifests and unit hold none, URLs carry no password, and pods get theirs as files."""
    for file in (KUBERNETES, DAILY, UNIT, COMPOSE):
        for url in re.findall(r"postgresql://(\S+)@", file.read_text(encoding="utf-8")):
            assert ":" not in url
    assert not [each for each in manifests() if each["kind"] == "Secret"]
    variables = {*manifest("ConfigMap")["data"], *(each["name"] for one in containers() for each in one.get("env", ()))}
    assert not [name for name in variables if SECRET.search(name) and not name.endswith("_FILE")]
    for each in containers():
        assert {"secretRef": {"name": "gotsurge"}} not in each.get("envFrom", ())
    assert not [line for line in unit()["Service"].get("Environment", []) if SECRET.search(line)]


def test_secrets_are_files_that_the_command_takes(tmp_path: Path) -> None:
    """What each pod copies from its Secret is where its variables say, and no other user may read it."""
    data = manifest("ConfigMap")["data"]
    for pod in pods():
        (copying,), (running,) = pod["initContainers"], pod["containers"]
        target = tmp_path / pod["containers"][0]["name"]
        target.mkdir()
        words = [word.replace("/run/gotsurge", str(target)) for word in copying["command"]]
        for word in words:
            if word.startswith("/secrets/"):
                (tmp_path / Path(word).name).write_text("secret")
                (tmp_path / Path(word).name).chmod(0o440)
        subprocess.run([word.replace("/secrets", str(tmp_path)) for word in words], check=True)
        own = {each["name"]: each["value"] for each in running.get("env", ())} or data
        named = {Path(value).name for value in own.values() if value.startswith("/run/gotsurge/")}
        assert named == {file.name for file in target.iterdir()}
        for file in target.iterdir():
            assert read_private(file, "the secret") == "secret"


def test_probes_ask_what_is_served() -> None:
    """All three ask the worker's port for metrics, which is the one that its command opens, to other machines."""
    (worker,) = [each for each in containers() if each["name"] == "worker"]
    words = worker["args"]
    (port,) = worker["ports"]
    assert words[words.index("--metrics-port") + 1] == str(port["containerPort"])
    assert words[words.index("--metrics-host") + 1] == "0.0.0.0"  # noqa: S104 - pods have an address of their own
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert worker[probe]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    annotations = manifest("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port["containerPort"])


# --- the rules of these tests ---------------------------------------------------------------------------------------


def faults_of_objects(text: str) -> list[str]:
    """What Kubernetes does not know in the objects of a file."""
    return [fault for each in yaml.safe_load_all(text) for fault in faults_of(each)]


def open_in_objects(text: str) -> list[str]:
    """What the pods of a file leave open."""
    return [fault for each in yaml.safe_load_all(text) for pod in pods_in(each) for fault in open_in(pod)]


@pytest.mark.parametrize(
    ("file", "faults", "before", "after"),
    [
        (DOCKERFILE, faults_of_image, "python:3.13-slim-bookworm AS build", "python AS build"),
        (DOCKERFILE, faults_of_image, "\nFROM python:3.13-slim-bookworm\n", "\nFROM python:latest\n"),
        (DOCKERFILE, faults_of_image, "USER 10001:10001", "USER root"),
        (DOCKERFILE, faults_of_image, "USER 10001:10001\n", ""),
        (DOCKERFILE, faults_of_image, "COPY pyproject.toml README.md LICENSE ./", "COPY . ./"),
        (DOCKERFILE, faults_of_image, "COPY gotsurge_async", "ADD gotsurge_async"),
        (DOCKERFILE, faults_of_image, 'ENTRYPOINT ["gotsurge"]', "ENTRYPOINT gotsurge"),
        (DOCKERFILE, faults_of_image, "--from=build", "--from=builder"),
        (DOCKERFILE, faults_of_image, '"--no-cache-dir", ', ""),
        (DOCKERFILE, faults_of_image, "WORKDIR /src", "WORKDIR src"),
        (DOCKERFILE, faults_of_image, 'HOME="/var/lib/gotsurge"', 'GOTSURGE_SECRET_KEY="x"'),
        (DOCKERFILE, faults_of_image, 'CMD ["--help"]', 'CMD ["--help"]\nCMD ["--version"]'),
        (KUBERNETES, faults_of_objects, "runAsNonRoot: true", "runAsNonroot: true"),
        (KUBERNETES, faults_of_objects, "restartPolicy: Never", "restartPolicy: never"),
        (KUBERNETES, faults_of_objects, "storage: 10Gi", "storage: 10 GB"),
        (KUBERNETES, faults_of_objects, "apiVersion: batch/v1", "apiVersion: batch/v1beta1"),
        (KUBERNETES, faults_of_objects, "claimName: gotsurge-orders", "claimname: gotsurge-orders"),
        (KUBERNETES, faults_of_objects, "operator: In", "operator: in"),
        (KUBERNETES, open_in_objects, "runAsNonRoot: true", "runAsNonRoot: false"),
        (KUBERNETES, open_in_objects, "type: RuntimeDefault", "type: Unconfined"),
        (KUBERNETES, open_in_objects, "drop: [ALL]", "drop: [CHOWN]"),
        (KUBERNETES, open_in_objects, "drop: [ALL]", "drop: [ALL]\n              add: [NET_ADMIN]"),
        (KUBERNETES, open_in_objects, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
        (KUBERNETES, open_in_objects, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
        (KUBERNETES, open_in_objects, "containerPort: 9464", "containerPort: 9464\n              hostPort: 9464"),
        (KUBERNETES, open_in_objects, "emptyDir:\n            medium: Memory", "hostPath:\n            path: /run"),
    ],
)
def test_each_rule_finds_its_fault(file: Path, faults: Callable[[str], list[str]], before: str, after: str) -> None:
    """Each rule finds the fault that it is about."""
    text = file.read_text(encoding="utf-8")
    assert before in text
    assert faults(text.replace(before, after, 1))


# --- systemd ---------------------------------------------------------------------------------------------------------


def test_the_unit_is_closed() -> None:
    """It starts again what a start can mend, waits for the drain, and gives the worker no more than it needs."""
    service = {name: values[-1] for name, values in unit()["Service"].items()}
    assert service["KillSignal"] == "SIGTERM"
    assert service["Restart"] == "on-failure"
    assert {"2", "4"} == set(service["RestartPreventExitStatus"].split())
    assert service["CapabilityBoundingSet"] == ""
    assert service["ProtectSystem"] == "strict"
    assert service["UMask"] == "0077"
    for name in ("DynamicUser", "NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "RestrictSUIDSGID"):
        assert service[name] == "yes", name


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Where systemd is, it knows every setting, and calls the unit little exposed; elsewhere it is only read."""
    analyze = shutil.which("systemd-analyze")
    assert set(unit()) == {"Unit", "Service", "Install"}
    if analyze is None:
        return
    program = shlex.split(unit()["Service"]["ExecStart"][0])[0]
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text(encoding="utf-8").replace(program, "/bin/true"), encoding="utf-8")
    verified = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True)
    assert UNIT.name not in verified.stderr, verified.stderr
    secure = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", str(copy)],
        capture_output=True,
        text=True,
    )
    assert secure.returncode == 0, secure.stdout[-500:] + secure.stderr
