"""Read roles and users: what they are, who uses them, and which inline policies they carry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from botocore.exceptions import ClientError

from firebreak.declarations import of_kind, targets_of
from firebreak.errors import PermanentCloudError
from firebreak.measure import Permission, on_any, on_target
from firebreak.model import JsonObject, Resource, Target, Workload
from providers.aws.answers import already, error_code, translate, translated
from providers.aws.documents import compact, statements
from providers.aws.resources import IamRole, IamUser, declared
from providers.aws.session import AwsAccess

# IAM quotas: characters of all inline policies together, white space not counted; they cannot be raised.
ROLE_ROOM, USER_ROOM = 10_240, 2_048
SEARCHED = ("ec2.amazonaws.com", "lambda.amazonaws.com")
"""The services whose users of a role are listed, in the workload's region."""
UNIQUE_ID = re.compile(r"^A[A-Z]{2}A[A-Z0-9]{12,}$")
"""What stands in a policy for a deleted principal (IAM user guide, "Principal")."""

READ_ROLE = on_target("iam:GetRole", "iam:GetRolePolicy", "iam:ListRolePolicies")
WRITE_ROLE = on_target("iam:PutRolePolicy", "iam:DeleteRolePolicy")
READ_USER = on_target("iam:GetUser", "iam:GetUserPolicy", "iam:ListUserPolicies")
WRITE_USER = on_target("iam:PutUserPolicy", "iam:DeleteUserPolicy")
PROBE_ROLE = on_target("sts:AssumeRole")
PROBE_USER = on_any("secretsmanager:GetSecretValue")
FIND_USERS = (
    *on_target("iam:ListInstanceProfilesForRole"),
    *on_any("ec2:DescribeIamInstanceProfileAssociations", "lambda:ListFunctions"),
)


def targets(workload: Workload, *kinds: type[IamRole | IamUser]) -> list[Target]:
    """List the declared identities of these classes."""
    chosen: list[Resource] = [each for kind in kinds for each in of_kind(workload.identities, kind)]
    return targets_of(workload, chosen)


def name_of(target: Target) -> str:
    """Return the name that IAM's API takes: the last part of the ARN's path."""
    return target.ref.rsplit("/", 1)[-1]


def is_role(target: Target) -> bool:
    """Tell roles from users."""
    return target.kind == "iam-role"


def for_kind(target: Target, permissions: tuple[Permission, ...]) -> tuple[Permission, ...]:
    """Leave out what only the other kind of principal needs."""
    other = {*READ_USER, *WRITE_USER, *PROBE_USER} if is_role(target) else {
        *READ_ROLE, *WRITE_ROLE, *PROBE_ROLE, *FIND_USERS,
    }  # fmt: skip
    return tuple(each for each in permissions if each not in other)


def places(action: str, target: Target, workload: Workload) -> tuple[str, ...]:
    """Return the user's declared secret for the action that reads it."""
    user = declared(workload, IamUser, target.ref)
    if action == PROBE_USER[0].action:
        return (user.probe_secret,) if user and user.probe_secret else ()
    return ("*",)


def read(access: AwsAccess, target: Target) -> JsonObject:
    """Read the principal; refuses what a policy cannot contain."""
    iam = access.client("iam")
    with translated(target.ref):
        if is_role(target):
            principal = cast("JsonObject", iam.get_role(RoleName=name_of(target))["Role"])
        else:
            principal = cast("JsonObject", iam.get_user(UserName=name_of(target))["User"])
    _require_containable(principal, target)
    return principal


def _require_containable(principal: JsonObject, target: Target) -> None:
    if principal["Arn"] != target.ref:
        raise PermanentCloudError(
            f"IAM knows {name_of(target)} as {principal['Arn']}",
            resource=target.ref,
            remedy="correct the inventory",
        )
    # IAM user guide, "Service-linked roles": only the linked service can change them.
    if str(principal.get("Path", "/")).startswith("/aws-service-role/"):
        raise PermanentCloudError(
            "a service-linked role takes no policy, and its sessions cannot be revoked",
            resource=target.ref,
            remedy="contain it through the service that owns it, and take it out of the inventory",
        )


def boundary(principal: JsonObject) -> str:
    """Return the ARN of the permissions boundary, or an empty string. An explicit deny wins over it."""
    return str(principal.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", ""))


def session_names(workload: Workload, target: Target) -> tuple[str, ...]:
    """Return the session names a shared role's deny is scoped to; empty for the whole principal."""
    role = declared(workload, IamRole, target.ref) if is_role(target) else None
    return role.session_names if role else ()


def inline_policy(access: AwsAccess, target: Target, policy: str) -> JsonObject | None:
    """Read an inline policy, or None where there is none of that name."""
    iam = access.client("iam")
    try:
        if is_role(target):
            found: Any = iam.get_role_policy(RoleName=name_of(target), PolicyName=policy)
        else:
            found = iam.get_user_policy(UserName=name_of(target), PolicyName=policy)
    except ClientError as error:
        if error_code(error) != "NoSuchEntity":
            raise translate(error, target.ref) from error
        read(access, target)  # the same code says that the principal itself is gone, and so does this
        return None
    return cast("JsonObject", found["PolicyDocument"])


def require_room(access: AwsAccess, target: Target, ours: Mapping[str, JsonObject]) -> None:
    """Refuse a principal whose other inline policies leave no room for ours."""
    limit = ROLE_ROOM if is_role(target) else USER_ROOM
    others = [inline_policy(access, target, name) for name in _policy_names(access, target) - ours.keys()]
    used, needed = (
        sum(len(compact(each)) for each in some if each is not None) for some in (others, ours.values())
    )
    if used + needed > limit:
        raise PermanentCloudError(
            f"its inline policies take {used} of the {limit} characters that IAM allows, and the denies "
            f"need {needed}",
            resource=target.ref,
            remedy="move an inline policy of the principal to a managed one",
        )


def _policy_names(access: AwsAccess, target: Target) -> set[str]:
    iam, name = access.client("iam"), name_of(target)
    with translated(target.ref):
        if is_role(target):
            pages: Any = iam.get_paginator("list_role_policies").paginate(RoleName=name)
        else:
            pages = iam.get_paginator("list_user_policies").paginate(UserName=name)
        return {each for page in pages for each in page["PolicyNames"]}


def put_inline_policy(access: AwsAccess, target: Target, policy: str, content: JsonObject) -> None:
    """Write an inline policy."""
    iam, name = access.client("iam"), name_of(target)
    with translated(target.ref):
        if is_role(target):
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=compact(content))
        else:
            iam.put_user_policy(UserName=name, PolicyName=policy, PolicyDocument=compact(content))


def delete_inline_policy(access: AwsAccess, target: Target, policy: str) -> None:
    """Delete an inline policy; harmless where it is gone already."""
    iam, name = access.client("iam"), name_of(target)
    if inline_policy(access, target, policy) is None:
        return
    with already(target.ref, "NoSuchEntity"):
        if is_role(target):
            iam.delete_role_policy(RoleName=name, PolicyName=policy)
        else:
            iam.delete_user_policy(UserName=name, PolicyName=policy)


def other_users(access: AwsAccess, target: Target) -> tuple[str, ...]:
    """Name who else runs as this role: what is declared, and what can be seen, except the workload itself."""
    workload = access.run.workload
    role = declared(workload, IamRole, target.ref) if is_role(target) else None
    if role is None or role.session_names:
        return ()
    mine = {each.ref for each in workload.resources()} | set(role.used_by)
    trust = read(access, target)["AssumeRolePolicyDocument"]
    found = (*_instances(access, target), *_functions(access, target))
    seen = (*role.shared_with, *found, *_strangers(admitted(trust, workload.account)))
    return tuple(dict.fromkeys(each for each in seen if each not in mine))


def admitted(trust: JsonObject, account: str) -> list[str]:
    """Name the services, identity providers and other accounts that a trust policy admits."""
    named = (each for each in statements(trust) if each["Effect"] == "Allow")
    return sorted({each for statement in named for each in _outsiders(statement, account)})


def _outsiders(statement: JsonObject, account: str) -> Iterator[str]:
    principal = statement.get("Principal", "*")  # NotPrincipal is everyone else
    for kind, names in (principal if isinstance(principal, dict) else {"AWS": principal}).items():
        for name in [names] if isinstance(names, str) else names:
            if kind != "AWS" or name == "*" or (account not in name and not UNIQUE_ID.match(name)):
                yield name


def _strangers(names: list[str]) -> list[str]:
    """Leave out those whose users are looked up one by one, and the only way in: it is the workload's own."""
    return [each for each in names if each not in SEARCHED] if len(names) > 1 else []


def search_limits(access: AwsAccess, trust: JsonObject) -> str:
    """Say among whom the role's users were not looked for."""
    workload = access.run.workload
    unseen = [each for each in admitted(trust, workload.account) if each not in SEARCHED]
    others = f"; its trust policy also admits {', '.join(unseen)}" if unseen else ""
    return f"other users are known only of EC2 and Lambda in {workload.region}{others}"


def _instances(access: AwsAccess, target: Target) -> Iterator[str]:
    iam, ec2 = access.client("iam"), access.client("ec2")
    with translated(target.ref):
        pages = iam.get_paginator("list_instance_profiles_for_role").paginate(RoleName=name_of(target))
        profiles = [profile["Arn"] for page in pages for profile in page["InstanceProfiles"]]
        if not profiles:
            return
        for page in ec2.get_paginator("describe_iam_instance_profile_associations").paginate():
            yield from (
                each["InstanceId"]
                for each in page["IamInstanceProfileAssociations"]
                if each["IamInstanceProfile"]["Arn"] in profiles
                and each["State"] in ("associating", "associated")
            )


def _functions(access: AwsAccess, target: Target) -> Iterator[str]:
    client = access.client("lambda")
    with translated(target.ref):
        for page in client.get_paginator("list_functions").paginate():
            yield from (each["FunctionArn"] for each in page["Functions"] if each["Role"] == target.ref)
