"""What Kubernetes takes: a schema of the objects that examples/fleet has, and the rules of its profile `restricted`."""

from collections.abc import Iterator
from typing import Any

import jsonschema

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
SIZE: Schema = {"type": "string", "pattern": r"^\d+(m|Ki|Mi|Gi|Ti)?$"}
NAME: Schema = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$"}


def one_of(*values: str) -> Schema:
    """One of some texts."""
    return {"enum": list(values)}


def many(of: Schema) -> Schema:
    """A list that is not empty."""
    return {"type": "array", "items": of, "minItems": 1}


def thing(required: str = "", **parts: Schema) -> Schema:
    """An object that has no other parts: a name that is misspelt is an error."""
    return {"type": "object", "properties": parts, "required": required.split(), "additionalProperties": False}


META = thing("name", name=NAME, namespace=NAME, labels=TEXTS, annotations=TEXTS)
LABELS = thing("matchLabels", matchLabels=TEXTS)
CLOSED = thing(
    allowPrivilegeEscalation=FLAG,
    readOnlyRootFilesystem=FLAG,
    privileged=FLAG,
    capabilities=thing(drop=many(TEXT), add=many(TEXT)),
)
PROBE = thing(
    "httpGet",
    httpGet=thing("path port", path=TEXT, port=TEXT),
    periodSeconds=NUMBER,
    timeoutSeconds=NUMBER,
    failureThreshold=NUMBER,
)
SIZES = thing(cpu=SIZE, memory=SIZE, storage=SIZE)
REF = thing("name", name=NAME)
CONTAINER = thing(
    "name image resources securityContext volumeMounts",
    name=NAME,
    image=TEXT,
    command=many(TEXT),
    args=many(TEXT),
    env=many(thing("name value", name=TEXT, value=TEXT)),
    envFrom=many({"type": "object", "maxProperties": 1, **thing(configMapRef=REF, secretRef=REF)}),
    ports=many(thing("containerPort", name=NAME, containerPort=NUMBER)),
    startupProbe=PROBE,
    livenessProbe=PROBE,
    readinessProbe=PROBE,
    resources=thing("requests limits", requests=SIZES, limits=SIZES),
    securityContext=CLOSED,
    volumeMounts=many(thing("name mountPath", name=NAME, mountPath=TEXT, subPath=TEXT, readOnly=FLAG)),
)
VOLUME = thing(
    "name",
    name=NAME,
    emptyDir=thing("sizeLimit", medium=one_of("Memory"), sizeLimit=SIZE),
    secret=thing("secretName defaultMode", secretName=NAME, defaultMode=NUMBER),
    persistentVolumeClaim=thing("claimName", claimName=NAME, readOnly=FLAG),
)
POD = thing(
    "containers securityContext",
    restartPolicy=one_of("Never", "OnFailure", "Always"),
    automountServiceAccountToken=FLAG,
    enableServiceLinks=FLAG,
    terminationGracePeriodSeconds=NUMBER,
    topologySpreadConstraints=many(
        thing(
            "maxSkew topologyKey whenUnsatisfiable labelSelector",
            maxSkew=NUMBER,
            topologyKey=TEXT,
            whenUnsatisfiable=one_of("ScheduleAnyway", "DoNotSchedule"),
            labelSelector=LABELS,
        )
    ),
    securityContext=thing(
        runAsNonRoot=FLAG,
        runAsUser=NUMBER,
        runAsGroup=NUMBER,
        fsGroup=NUMBER,
        seccompProfile=thing("type", type=one_of("RuntimeDefault")),
    ),
    initContainers=many(CONTAINER),
    containers=many(CONTAINER),
    volumes=many({**VOLUME, "minProperties": 2, "maxProperties": 2}),
)
TEMPLATE = thing("metadata spec", metadata=thing("labels", labels=TEXTS, annotations=TEXTS), spec=POD)
JOB = thing(
    "template",
    backoffLimit=NUMBER,
    ttlSecondsAfterFinished=NUMBER,
    podFailurePolicy=thing(
        "rules",
        rules=many(
            thing(
                "action onExitCodes",
                action=one_of("FailJob", "Ignore", "Count"),
                onExitCodes=thing(
                    "operator values", containerName=NAME, operator=one_of("In", "NotIn"), values=many(NUMBER)
                ),
            )
        ),
    ),
    template=TEMPLATE,
)
PORTS = many(thing("port", protocol=one_of("TCP", "UDP"), port=NUMBER))
PEERS = many(thing(namespaceSelector=LABELS, podSelector=LABELS, ipBlock=thing("cidr", cidr=TEXT)))
SPECS: dict[str, tuple[str, Schema]] = {
    "Deployment": ("apps/v1", thing("selector template", replicas=NUMBER, selector=LABELS, template=TEMPLATE)),
    "Job": ("batch/v1", JOB),
    "CronJob": (
        "batch/v1",
        thing(
            "schedule jobTemplate",
            schedule={"type": "string", "pattern": r"^(\S+ ){4}\S+$"},
            timeZone=TEXT,
            concurrencyPolicy=one_of("Allow", "Forbid", "Replace"),
            jobTemplate=thing("spec", spec=JOB),
        ),
    ),
    "NetworkPolicy": (
        "networking.k8s.io/v1",
        thing(
            "podSelector policyTypes",
            podSelector=thing(matchLabels=TEXTS),
            policyTypes=many(one_of("Ingress", "Egress")),
            ingress=many({**thing(ports=PORTS, **{"from": PEERS}), "minProperties": 1}),
            egress=many({**thing(to=PEERS, ports=PORTS), "minProperties": 1}),
        ),
    ),
    "PodDisruptionBudget": ("policy/v1", thing("selector", maxUnavailable=NUMBER, selector=LABELS)),
    "PersistentVolumeClaim": (
        "v1",
        thing(
            "accessModes resources",
            accessModes=many(one_of("ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany")),
            resources=thing("requests", requests=SIZES),
        ),
    ),
}


def faults_of(found: dict[str, Any]) -> list[str]:
    """What is wrong with an object, by the schema of its kind."""
    kind = found["kind"]
    if kind in SPECS:
        version, spec = SPECS[kind]
        parts = {"spec": spec}
    else:
        version, parts = "v1", {"ConfigMap": {"data": TEXTS}, "Namespace": {}}[kind]
    schema = thing("apiVersion kind metadata", apiVersion=one_of(version), kind=one_of(kind), metadata=META, **parts)
    return [f"{each.json_path}: {each.message}" for each in jsonschema.Draft202012Validator(schema).iter_errors(found)]


def pods_in(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The pods that an object makes."""
    if found["kind"] in ("Deployment", "Job"):
        yield found["spec"]["template"]["spec"]
    elif found["kind"] == "CronJob":
        yield found["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def open_in(pod: dict[str, Any]) -> list[str]:
    """What the profile `restricted` of Kubernetes refuses in a pod, and what it leaves open that we do not."""
    faults = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    secure = pod.get("securityContext", {})
    if secure.get("runAsNonRoot") is not True or not secure.get("runAsUser"):
        faults.append("it may run as root")
    if secure.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        faults.append("no seccomp profile")
    kinds = {name for volume in pod.get("volumes", ()) for name in volume} - {"name"}
    faults += sorted(kinds - {"configMap", "csi", "downwardAPI", "emptyDir", "persistentVolumeClaim", "secret"})
    for each in (*pod.get("initContainers", ()), *pod["containers"]):
        own = each.get("securityContext", {})
        capabilities = own.get("capabilities", {})
        if own.get("allowPrivilegeEscalation") is not False:
            faults.append(f"{each['name']} may gain rights")
        if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
            faults.append(f"{each['name']} has capabilities")
        if own.get("privileged") or own.get("readOnlyRootFilesystem") is not True:
            faults.append(f"{each['name']} may write to its root, or more")
        if any("hostPort" in port for port in each.get("ports", ())):
            faults.append(f"{each['name']} takes a port of the machine")
    return faults
