"""Makes the plant's devices known to the platform before they speak."""

from domain.metric import MetricKind
from fleet.registry import DeviceIdTaken, DeviceMissing, DeviceSpec, MetricHasReadings, MetricSpec, Registry
from tools.plant.model.catalogue import DEVICES
from tools.plant.model.catalogue import DeviceSpec as PlantDevice


def register(registry: Registry, tenant_id: int) -> list[str]:
    """Register all devices with their metrics, gateways first; what people changed since stays.

    Returns:
        Sentences about devices that could not be registered as they are.
    """
    problems = []
    for device in sorted(DEVICES, key=lambda device: device.parent_device_id is not None):
        spec = _spec(device)
        try:
            registry.create(tenant_id, device.device_id, spec)
        except DeviceIdTaken:
            problems += _complete(registry, tenant_id, device.device_id, spec)
    return problems


def _complete(registry: Registry, tenant_id: int, device_id: str, spec: DeviceSpec) -> list[str]:
    """Describe a device that only its first message has introduced so far; leave all others as they are."""
    try:
        if not registry.find(tenant_id, device_id).type:
            registry.replace(tenant_id, device_id, spec)
    except (DeviceMissing, MetricHasReadings) as error:
        return [f"{device_id} is not registered as it should be: {error}"]
    return []


def _spec(device: PlantDevice) -> DeviceSpec:
    return DeviceSpec(
        name=device.name,
        type=device.device_type,
        location=device.location,
        metadata={"plant": "Riverside Utilities"},
        parent_device_id=device.parent_device_id,
        metrics=[
            MetricSpec(
                name=metric.name,
                unit=metric.unit,
                kind=MetricKind(metric.kind),
                min=metric.low,
                max=metric.high,
                modulus=metric.modulus,
            )
            for metric in device.metrics
        ],
    )
