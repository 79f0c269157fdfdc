"""A client of the planning service: numpy in and out, over REST or gRPC, without torch.

```python
with PlannerClient("http://127.0.0.1:8000") as planner:
    plan = planner.plan(frame, pose, goal_frame, deadline_ms=500)
    robot.move_to(plan.targets[0])
```
"""

from vjepa2_ac.client.aio import AsyncPlannerClient, AsyncSession
from vjepa2_ac.client.answers import Calibration, Confidence, Goal, Plan, Rollout, SessionState, Step
from vjepa2_ac.client.broker import ChunkBroker, LateError, Move
from vjepa2_ac.client.calls import Exploration, ObservationDetails, Options
from vjepa2_ac.client.errors import PlannerError, PlannerUnavailableError
from vjepa2_ac.client.pictures import Picture
from vjepa2_ac.client.sync import PlannerClient, Session

__all__ = [
    "AsyncPlannerClient",
    "AsyncSession",
    "Calibration",
    "ChunkBroker",
    "Confidence",
    "Exploration",
    "Goal",
    "LateError",
    "Move",
    "ObservationDetails",
    "Options",
    "Picture",
    "Plan",
    "PlannerClient",
    "PlannerError",
    "PlannerUnavailableError",
    "Rollout",
    "Session",
    "SessionState",
    "Step",
]
