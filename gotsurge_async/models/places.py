"""Places and times of an order: addresses, contacts, time windows."""

from datetime import datetime

import attrs

from gotsurge_async.models.base import Model, names_an_instant, utc_if_aware


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Address(Model):
    """A place (object ``address``). Latitude and longitude in degrees, altitude in metres."""

    street_address: str | None = None
    building_name: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    zip_code: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Contact(Model):
    """The person to meet (objects ``contact`` and ``officer_contact``).

    phone is E.164 text ("+65…"); vessel_imo is the seven-digit IMO number.
    """

    name: str | None = None
    phone: str | None = None
    email: str | None = None
    company_name: str | None = None
    vessel_id: str | None = None
    vessel_imo: int | None = None
    vessel_name: str | None = None
    lighter_boat_name: str | None = None
    lighter_company_name: str | None = None
    vehicle_name: str | None = None
    berth_no: str | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class TimeWindow(Model):
    """A time with a start and an end (object ``time_window``): aware datetimes, kept in UTC."""

    start_time_utc: datetime = attrs.field(converter=utc_if_aware, validator=names_an_instant)
    end_time_utc: datetime = attrs.field(converter=utc_if_aware, validator=names_an_instant)
