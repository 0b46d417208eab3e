"""Operations on containers: claiming, driving, events, sweeps and schedules."""
