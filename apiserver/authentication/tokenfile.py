"""``--token-auth-file``: a CSV of ``token,user,uid,"group1,group2"``, read at start."""

import csv
import logging

from apiserver.authentication.user import AUTHENTICATED_GROUP, User

log = logging.getLogger(__name__)


def read(path: str) -> dict[bytes, User]:
    """Users by token. Raises OSError, and ValueError naming the line that has too few columns."""
    users: dict[bytes, User] = {}
    with open(path, newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not row:
                continue
            if len(row) < 3:
                raise ValueError(f"{path}:{number}: a token line needs at least token, user and uid, found {len(row)}")
            token, name, uid = (column.strip() for column in row[:3])
            if not token:
                log.warning("%s:%d: empty token, line ignored", path, number)
                continue
            groups = [g.strip() for g in row[3].split(",")] if len(row) > 3 and row[3] else []
            users[token.encode()] = User(name, [*groups, AUTHENTICATED_GROUP], uid)
    return users
