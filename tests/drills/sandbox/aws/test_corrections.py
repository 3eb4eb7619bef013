"""One canary per correction to moto: on an upgrade they say which corrections still hold."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from drills.sandbox.aws.client import AccessKey

REGION = "eu-central-1"
ACCOUNT = "222222222222"
MANIFEST = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
LOCATION = {"LocationConstraint": REGION}

Connect = Callable[..., Any]
Refused = Callable[..., str]


class TestSecurityGroups:
    @pytest.fixture
    def ec2(self, connect: Connect, admin: AccessKey) -> Any:
        return connect("ec2", admin)

    @pytest.fixture
    def vpc(self, ec2: Any) -> str:
        return str(ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"])

    @pytest.fixture
    def subnet(self, ec2: Any, vpc: str) -> str:
        return str(ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"])

    def group(self, ec2: Any, vpc: str, name: str) -> str:
        return str(ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"])

    def instance(self, ec2: Any, subnet: str, groups: list[str]) -> dict[str, Any]:
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        launch = {
            "ImageId": image,
            "MinCount": 1,
            "MaxCount": 1,
            "SubnetId": subnet,
            "SecurityGroupIds": groups,
        }
        return dict(ec2.run_instances(**launch)["Instances"][0])

    def interface_groups(self, ec2: Any, interface: str) -> list[str]:
        shown = ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"][0][
            "Groups"
        ]
        return sorted(group["GroupId"] for group in shown)

    def instance_groups(self, ec2: Any, instance: str) -> list[str]:
        shown = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        return sorted(group["GroupId"] for group in shown["SecurityGroups"])

    def test_one_interface_call_sets_exactly_the_asked_groups(self, ec2: Any, vpc: str, subnet: str) -> None:
        web, quarantine = self.group(ec2, vpc, "web"), self.group(ec2, vpc, "quarantine")
        instance = self.instance(ec2, subnet, [web])
        interface = instance["NetworkInterfaces"][0]["NetworkInterfaceId"]
        assert self.interface_groups(ec2, interface) == [web]
        ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[quarantine])
        assert self.interface_groups(ec2, interface) == [quarantine]
        assert self.instance_groups(ec2, instance["InstanceId"]) == [quarantine]

    def test_an_instance_call_sets_its_only_interface(self, ec2: Any, vpc: str, subnet: str) -> None:
        web, quarantine = self.group(ec2, vpc, "web"), self.group(ec2, vpc, "quarantine")
        instance = self.instance(ec2, subnet, [web])
        ec2.modify_instance_attribute(InstanceId=instance["InstanceId"], Groups=[quarantine])
        interface = instance["NetworkInterfaces"][0]["NetworkInterfaceId"]
        assert self.interface_groups(ec2, interface) == [quarantine]

    def test_an_instance_call_is_refused_with_two_interfaces(
        self,
        ec2: Any,
        vpc: str,
        subnet: str,
        refused: Refused,
    ) -> None:
        web, quarantine = self.group(ec2, vpc, "web"), self.group(ec2, vpc, "quarantine")
        instance = self.instance(ec2, subnet, [web])
        second = ec2.create_network_interface(SubnetId=subnet, Groups=[web])["NetworkInterface"][
            "NetworkInterfaceId"
        ]
        identifier = instance["InstanceId"]
        ec2.attach_network_interface(NetworkInterfaceId=second, InstanceId=identifier, DeviceIndex=1)
        call = {"InstanceId": identifier, "Groups": [quarantine]}
        assert refused(ec2.modify_instance_attribute, **call) == "InvalidInstanceID"
        ec2.modify_network_interface_attribute(NetworkInterfaceId=second, Groups=[quarantine])
        assert self.interface_groups(ec2, second) == [quarantine]
        assert self.instance_groups(ec2, identifier) == [web]

    def test_unknown_groups_are_refused(self, ec2: Any, subnet: str, vpc: str, refused: Refused) -> None:
        web = self.group(ec2, vpc, "web")
        instance = self.instance(ec2, subnet, [web])
        interface = instance["NetworkInterfaces"][0]["NetworkInterfaceId"]
        missing = ["sg-0123456789abcdef0"]
        swap = {"NetworkInterfaceId": interface, "Groups": missing}
        assert refused(ec2.modify_network_interface_attribute, **swap) == "InvalidGroup.NotFound"
        create = {"SubnetId": subnet, "Groups": missing}
        assert refused(ec2.create_network_interface, **create) == "InvalidGroup.NotFound"

    def test_a_group_in_use_cannot_be_deleted(
        self, ec2: Any, vpc: str, subnet: str, refused: Refused
    ) -> None:
        web, quarantine = self.group(ec2, vpc, "web"), self.group(ec2, vpc, "quarantine")
        interface = self.instance(ec2, subnet, [web])["NetworkInterfaces"][0]["NetworkInterfaceId"]
        assert refused(ec2.delete_security_group, GroupId=web) == "DependencyViolation"
        ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[quarantine])
        ec2.delete_security_group(GroupId=web)

    def test_a_group_named_by_another_groups_rule_cannot_be_deleted(
        self,
        ec2: Any,
        vpc: str,
        refused: Refused,
    ) -> None:
        web, database = self.group(ec2, vpc, "web"), self.group(ec2, vpc, "database")
        rule = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": web}]}
        ec2.authorize_security_group_ingress(GroupId=database, IpPermissions=[rule])
        assert refused(ec2.delete_security_group, GroupId=web) == "DependencyViolation"
        ec2.revoke_security_group_ingress(GroupId=database, IpPermissions=[rule])
        ec2.delete_security_group(GroupId=web)

    def test_an_interface_has_a_private_name(self, ec2: Any, vpc: str, subnet: str) -> None:
        created = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]
        shown = ec2.describe_network_interfaces(NetworkInterfaceIds=[created["NetworkInterfaceId"]])
        assert shown["NetworkInterfaces"][0]["PrivateDnsName"].startswith("ip-10-0-1-")

    def test_an_ecs_task_in_awsvpc_mode_runs(
        self,
        ec2: Any,
        vpc: str,
        subnet: str,
        connect: Connect,
        admin: AccessKey,
    ) -> None:
        ecs, web = connect("ecs", admin), self.group(ec2, vpc, "web")
        ecs.create_cluster(clusterName="agents")
        container = {"name": "agent", "image": "agent:1", "memory": 128}
        ecs.register_task_definition(
            family="agent",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[container],
        )
        task = ecs.run_task(
            cluster="agents",
            taskDefinition="agent",
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [web]}},
        )["tasks"][0]
        details = {item["name"]: item["value"] for item in task["attachments"][0]["details"]}
        assert self.interface_groups(ec2, details["networkInterfaceId"]) == [web]


class TestKeys:
    @pytest.fixture
    def kms(self, connect: Connect, admin: AccessKey) -> Any:
        return connect("kms", admin)

    def test_a_disabled_key_encrypts_decrypts_and_signs_nothing(self, kms: Any, refused: Refused) -> None:
        seal = kms.create_key()["KeyMetadata"]["KeyId"]
        blob = kms.encrypt(KeyId=seal, Plaintext=b"x")["CiphertextBlob"]
        kms.disable_key(KeyId=seal)
        assert refused(kms.encrypt, KeyId=seal, Plaintext=b"x") == "DisabledException"
        assert refused(kms.decrypt, CiphertextBlob=blob) == "DisabledException"
        assert refused(kms.generate_data_key, KeyId=seal, KeySpec="AES_256") == "DisabledException"
        kms.enable_key(KeyId=seal)
        assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
        signer = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["KeyId"]
        kms.disable_key(KeyId=signer)
        sign = {"KeyId": signer, "Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}
        assert refused(kms.sign, **sign) == "DisabledException"

    def test_a_key_pending_deletion_is_unusable(self, kms: Any, refused: Refused) -> None:
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
        assert refused(kms.encrypt, KeyId=key, Plaintext=b"x") == "KMSInvalidStateException"

    @pytest.mark.parametrize("kind", ["RAW", "DIGEST"])
    def test_an_elliptic_signature_verifies_offline(self, kms: Any, kind: str) -> None:
        key = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["KeyId"]
        public = load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
        assert isinstance(public, ec.EllipticCurvePublicKey)
        message = b"manifest" if kind == "RAW" else hashlib.sha256(b"manifest").digest()
        sign = {"KeyId": key, "Message": message, "MessageType": kind, "SigningAlgorithm": "ECDSA_SHA_256"}
        signature = kms.sign(**sign)["Signature"]
        public.verify(signature, b"manifest", ec.ECDSA(hashes.SHA256()))
        assert kms.verify(**sign, Signature=signature)["SignatureValid"]

    def test_an_rsa_digest_and_pss_salt_verify_offline(self, kms: Any, refused: Refused) -> None:
        key = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["KeyId"]
        public = load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
        assert isinstance(public, rsa.RSAPublicKey)
        digest = hashlib.sha256(b"manifest").digest()
        sign = {"KeyId": key, "Message": digest, "MessageType": "DIGEST"}
        plain = kms.sign(**sign, SigningAlgorithm="RSASSA_PKCS1_V1_5_SHA_256")["Signature"]
        public.verify(plain, b"manifest", padding.PKCS1v15(), hashes.SHA256())
        salted = kms.sign(**sign, SigningAlgorithm="RSASSA_PSS_SHA_256")["Signature"]
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)
        public.verify(salted, b"manifest", pss, hashes.SHA256())
        wrong = {**sign, "Message": b"short", "SigningAlgorithm": "RSASSA_PSS_SHA_256"}
        assert refused(kms.sign, **wrong) == "ValidationException"
        forged = {**sign, "Signature": b"0" * 256, "SigningAlgorithm": "RSASSA_PSS_SHA_256"}
        assert refused(kms.verify, **forged) == "KMSInvalidSignatureException"


class TestImages:
    def manifest(self, number: int) -> str:
        return json.dumps({**MANIFEST, "annotations": {"n": str(number)}})

    def test_immutable_tags_cannot_move(self, connect: Connect, admin: AccessKey, refused: Refused) -> None:
        ecr = connect("ecr", admin)
        ecr.create_repository(repositoryName="agent")
        ecr.put_image(repositoryName="agent", imageManifest=self.manifest(1), imageTag="v1")
        ecr.put_image(repositoryName="agent", imageManifest=self.manifest(2), imageTag="v1")
        ecr.put_image_tag_mutability(repositoryName="agent", imageTagMutability="IMMUTABLE")
        move = {"repositoryName": "agent", "imageManifest": self.manifest(3), "imageTag": "v1"}
        assert refused(ecr.put_image, **move) == "ImageTagAlreadyExistsException"
        ecr.put_image(**{**move, "imageTag": "v2"})


class TestFunctions:
    def test_no_concurrency_means_no_invocation(
        self, connect: Connect, admin: AccessKey, refused: Refused
    ) -> None:
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        role = connect("iam", admin).create_role(
            RoleName="function",
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )["Role"]["Arn"]
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as code:
            code.writestr("agent.py", "def handler(event, context): return 1")
        functions = connect("lambda", admin)
        functions.create_function(
            FunctionName="agent",
            Runtime="python3.11",
            Role=role,
            Handler="agent.handler",
            Code={"ZipFile": archive.getvalue()},
        )
        functions.put_function_concurrency(FunctionName="agent", ReservedConcurrentExecutions=0)
        shown = functions.get_function_concurrency(FunctionName="agent")
        assert shown["ReservedConcurrentExecutions"] == 0
        assert refused(functions.invoke, FunctionName="agent") == "TooManyRequestsException"


class TestRequests:
    def test_calls_without_a_body_are_accepted(self, connect: Connect, admin: AccessKey) -> None:
        assert connect("lambda", admin).list_functions()["Functions"] == []
        assert connect("eks", admin).list_clusters()["clusters"] == []
        assert connect("bedrock", admin).list_custom_models()["modelSummaries"] == []

    def test_odd_object_keys_are_signed_as_sent(self, connect: Connect, admin: AccessKey) -> None:
        s3 = connect("s3", admin)
        s3.create_bucket(Bucket="odd", CreateBucketConfiguration=LOCATION)
        for key in ("a b", "a+b", "ü/ß", "a//b", "./x", "a%2Fb", "~x=&?#"):
            s3.put_object(Bucket="odd", Key=key, Body=key.encode())
            assert s3.get_object(Bucket="odd", Key=key)["Body"].read() == key.encode()

    def test_aws_managed_deny_all_exists(self, connect: Connect, admin: AccessKey) -> None:
        arn = "arn:aws:iam::aws:policy/AWSDenyAll"
        assert connect("iam", admin).get_policy(PolicyArn=arn)["Policy"]["PolicyName"] == "AWSDenyAll"

    def test_errors_of_the_emulator_keep_their_code(
        self,
        connect: Connect,
        admin: AccessKey,
        refused: Refused,
    ) -> None:
        ec2 = connect("ec2", admin)
        group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
        missing = {"InstanceId": "i-0123456789abcdef0", "Groups": [group]}
        assert refused(ec2.modify_instance_attribute, **missing) == "InvalidInstanceID.NotFound"

    def test_what_is_not_implemented_says_so_and_is_not_retried(
        self,
        connect: Connect,
        admin: AccessKey,
    ) -> None:
        with pytest.raises(ClientError) as caught:
            connect("iam", admin).generate_organizations_access_report(EntityPath="o-a1b2c3d4e5/r-f6g7h8i9j0")
        assert caught.value.response["Error"]["Code"] == "NotImplemented"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501

    def test_a_malformed_policy_is_refused(self, connect: Connect, admin: AccessKey) -> None:
        iam = connect("iam", admin)
        iam.create_user(UserName="agent")
        with pytest.raises(ClientError, match="MalformedPolicyDocument"):
            iam.put_user_policy(UserName="agent", PolicyName="p", PolicyDocument="{")

    def test_moto_is_the_pinned_version(self) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - only here

        assert version("moto") == "5.2.5", (
            "check every correction of drills/sandbox/aws before moving the pin"
        )


class TestServiceCredentials:
    def test_they_are_made_listed_switched_off_and_removed(
        self,
        connect: Connect,
        admin: AccessKey,
        refused: Refused,
    ) -> None:
        iam = connect("iam", admin)
        iam.create_user(UserName="agent")
        service = "codecommit.amazonaws.com"
        made = iam.create_service_specific_credential(UserName="agent", ServiceName=service)
        identifier = made["ServiceSpecificCredential"]["ServiceSpecificCredentialId"]
        iam.update_service_specific_credential(
            UserName="agent",
            ServiceSpecificCredentialId=identifier,
            Status="Inactive",
        )
        listed = iam.list_service_specific_credentials(UserName="agent")["ServiceSpecificCredentials"]
        assert [(item["ServiceName"], item["Status"]) for item in listed] == [(service, "Inactive")]
        assert "ServicePassword" not in listed[0]
        iam.delete_service_specific_credential(UserName="agent", ServiceSpecificCredentialId=identifier)
        unknown = {"UserName": "agent", "ServiceSpecificCredentialId": identifier}
        assert refused(iam.delete_service_specific_credential, **unknown) == "NoSuchEntity"


class TestIamQuotas:
    @pytest.fixture
    def iam(self, connect: Connect, admin: AccessKey) -> Any:
        return connect("iam", admin)

    def trust(self, *principals: str, sid: str = "") -> str:
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": list(principals)}}
        return json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Sid": sid}]})

    @pytest.mark.parametrize(("kind", "limit"), [("User", 2_048), ("Role", 10_240), ("Group", 5_120)])
    def test_the_inline_policies_of_one_principal_have_one_limit(
        self, iam: Any, kind: str, limit: int, refused: Refused
    ) -> None:
        more = {"AssumeRolePolicyDocument": self.trust("*")} if kind == "Role" else {}
        getattr(iam, f"create_{kind.lower()}")(**{f"{kind}Name": "full"}, **more)
        put = partial(getattr(iam, f"put_{kind.lower()}_policy"), **{f"{kind}Name": "full"})

        def policy(size: int) -> str:
            statement = {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::"}
            document = json.dumps({"Version": "2012-10-17", "Statement": statement}, indent=4)
            return document.replace(":::", ":::" + "x" * (size - len("".join(document.split()))))

        put(PolicyName="one", PolicyDocument=policy(limit - 200))
        put(PolicyName="one", PolicyDocument=policy(limit - 200))
        put(PolicyName="two", PolicyDocument=policy(200))
        assert refused(put, PolicyName="two", PolicyDocument=policy(201)) == "LimitExceeded"

    def test_a_trust_policy_has_a_limit(self, iam: Any, refused: Refused) -> None:
        long = self.trust("*", sid="x" * 2_048)
        assert refused(iam.create_role, RoleName="r", AssumeRolePolicyDocument=long) == "LimitExceeded"
        iam.create_role(RoleName="r", AssumeRolePolicyDocument=self.trust("*"))
        update = iam.update_assume_role_policy
        assert refused(update, RoleName="r", PolicyDocument=long) == "LimitExceeded"

    def test_a_deleted_principal_is_named_by_an_id_that_cannot_be_written_back(
        self, iam: Any, refused: Refused
    ) -> None:
        user = iam.create_user(UserName="u")["User"]["Arn"]
        role = iam.create_role(RoleName="gone", AssumeRolePolicyDocument=self.trust("*"))["Role"]["Arn"]
        iam.create_role(RoleName="left", AssumeRolePolicyDocument=self.trust(user, role))
        iam.delete_user(UserName="u")
        iam.delete_role(RoleName="gone")
        trust = iam.get_role(RoleName="left")["Role"]["AssumeRolePolicyDocument"]
        first, second = trust["Statement"][0]["Principal"]["AWS"]
        assert (first[:4], second[:4]) == ("AIDA", "AROA")
        written = {"RoleName": "left", "PolicyDocument": json.dumps(trust)}
        assert refused(iam.update_assume_role_policy, **written) == "MalformedPolicyDocument"
