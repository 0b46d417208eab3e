"""Operations on containers: requests, the driver, events, sweeps and schedules."""
