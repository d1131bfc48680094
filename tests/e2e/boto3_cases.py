"""What test_boto3_agrees.py gives to boto3 and to us: environments and files, named or by seed."""

import hashlib
import json
import os
import random
from dataclasses import dataclass, field

import botocore

from servers.aws_stub import secret_of

BOTOCORE = tuple(int(part) for part in botocore.__version__.split("."))
# endpoint_url in files and environment came with 1.31; Debian 12 has 1.29.
KNOWS_ENDPOINT_URL = (1, 31, 0)
# The token of a session is looked for in the profile that is asked, no longer in the session's.
FINDS_TOKEN_OF_SOURCE = (1, 36, 0)


def keys(name, token="", prefix="aws_"):
    """Settings of a profile."""
    lines = f"{prefix}access_key_id = {name}\n{prefix}secret_access_key = {secret_of(name)}\n"
    return lines + (f"{prefix}session_token = {token}\n" if token else "")


def environment_keys(name, **more):
    """Variables."""
    return {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": secret_of(name)} | more


def session_cache(name):
    """Where the AWS CLI keeps a token."""
    return f".aws/sso/cache/{hashlib.sha1(name.encode()).hexdigest()}.json"


def kept_token(name, expires="2037-01-01T00:00:00Z", **more):
    """What it keeps there."""
    return json.dumps({"accessToken": name, "expiresAt": expires} | more)


RENEWABLE = {
    "clientId": "id", "clientSecret": "secret", "refreshToken": "refresh",
    "registrationExpiresAt": "2037-01-01T00:00:00Z",
}  # fmt: skip
START_URL = "https://corp.awsapps.com/start"
SSO_ROLE = "sso_account_id = 123456789012\nsso_role_name = reader\n"
SSO_SESSION = SSO_ROLE + "sso_session = corp\n"
SSO_LEGACY = SSO_ROLE + f"sso_start_url = {START_URL}\nsso_region = eu-central-1\n"
SESSIONS = f"[sso-session corp]\nsso_start_url = {START_URL}\nsso_region = eu-west-1\n"
TOKENS = {session_cache("corp"): kept_token("corp"), session_cache(START_URL): kept_token("legacy")}
PROCESS = "credential_process = cat {home}/process.json\n"
FILES = {
    "token": "web token",
    "other-token": "other web token",
    "process.json": json.dumps(
        {"Version": 1, "AccessKeyId": "PROCESS", "SecretAccessKey": secret_of("PROCESS")}
    ),
} | TOKENS


def role(name, source, more=""):
    """Settings of a profile: a role, with credentials of the profile `source`."""
    return f"role_arn = arn:aws:iam::123456789012:role/{name}\nsource_profile = {source}\n{more}"


def role_from(name, source, more=""):
    """The same with a credential_source."""
    return f"role_arn = arn:aws:iam::123456789012:role/{name}\ncredential_source = {source}\n{more}"


WEB = "role_arn = arn:aws:iam::123456789012:role/web\nweb_identity_token_file = {home}/token\n"
WEB_VARIABLES = {
    "AWS_WEB_IDENTITY_TOKEN_FILE": "{home}/other-token",
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/of-environment",
}
CONTAINER = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "{aws}/container"}
INSTANCE = {"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "{aws}"}


@dataclass
class Case:
    """A user's surroundings. {home} and {aws} stand for the directory and the stub."""

    environment: dict = field(default_factory=dict)  # over BASE; an empty value removes one
    config: str = ""
    credentials: str = ""
    files: dict = field(default_factory=dict)  # over FILES, below {home}
    profile: str = None  # the parameter
    since: tuple = (0,)  # the version of botocore that knows it
    place: str = ""  # where our request goes, for what this botocore may not know


BASE = {
    "HOME": "{home}", "PATH": os.environ["PATH"], "HTTPS_PROXY": "{aws}",
    "AWS_CA_BUNDLE": "{authority}", "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true", "AWS_STS_REGIONAL_ENDPOINTS": "regional",
    "AWS_MAX_ATTEMPTS": "1",
}  # fmt: skip
NO_REGION = {"AWS_DEFAULT_REGION": ""}
ENV = environment_keys("ENV")

CASES = {
    "nothing": Case(),
    # keys
    "keys of the environment": Case(ENV),
    "a token of the environment": Case(ENV | {"AWS_SESSION_TOKEN": "t"}),
    "a token by its old name": Case(ENV | {"AWS_SECURITY_TOKEN": "t"}),
    "tokens by both names": Case(ENV | {"AWS_SECURITY_TOKEN": "s", "AWS_SESSION_TOKEN": "t"}),
    "half a pair in the environment": Case({"AWS_ACCESS_KEY_ID": "ENV"}),
    "keys in credentials": Case(credentials="[default]\n" + keys("FILE", "t")),
    "keys in config": Case(config="[default]\n" + keys("FILE", "t")),
    "an old token in credentials": Case(
        credentials="[default]\n" + keys("FILE") + "aws_security_token = t\n"
    ),
    "keys in both files": Case(
        config="[default]\n" + keys("CONFIG", "t"), credentials="[default]\n" + keys("CREDENTIALS")
    ),
    "keys in the environment and a file": Case(ENV, credentials="[default]\n" + keys("FILE")),
    "half a pair in a file": Case(credentials="[default]\naws_access_key_id = x\n"),
    "a default profile by its long name": Case(
        config="[default]\n" + keys("SHORT") + "[profile default]\n" + keys("LONG")
    ),
    "names in quotes": Case(
        {"AWS_PROFILE": "my own"}, config='[profile "my own"]\n' + keys("QUOTED")
    ),
    "comments and odd blanks": Case(
        credentials="# c\n; d\n[default]\n  aws_access_key_id=FILE\n"
        f"aws_secret_access_key   =   {secret_of('FILE')}   \n"
    ),
    "other files": Case(
        {"AWS_SHARED_CREDENTIALS_FILE": "{home}/other-keys", "AWS_CONFIG_FILE": "{home}/settings"}
        | NO_REGION,
        config="[default]\nregion = us-east-2\n",
        credentials="[default]\n" + keys("USUAL"),
        files={"other-keys": "[default]\n" + keys("OTHER"),
               "settings": "[default]\nregion = eu-central-1\n"},
    ),
    # profiles
    "AWS_PROFILE": Case({"AWS_PROFILE": "a"}, credentials="[a]\n" + keys("A")),
    "AWS_DEFAULT_PROFILE": Case({"AWS_DEFAULT_PROFILE": "a"}, credentials="[a]\n" + keys("A")),
    "both, of which the older counts": Case(
        {"AWS_DEFAULT_PROFILE": "a", "AWS_PROFILE": "b"},
        credentials="[a]\n" + keys("A") + "[b]\n" + keys("B"),
    ),
    "a profile of the environment does not count before its keys": Case(
        ENV | {"AWS_PROFILE": "a"}, credentials="[a]\n" + keys("A")
    ),
    "a profile by parameter does": Case(ENV, credentials="[a]\n" + keys("A"), profile="a"),
    "a profile that is not there": Case(profile="typo", credentials="[default]\n" + keys("FILE")),
    # programs
    "a process": Case(config="[default]\n" + PROCESS),
    "a process before keys in config": Case(config="[default]\n" + PROCESS + keys("FILE")),
    "a process after keys in credentials": Case(
        config="[default]\n" + PROCESS, credentials="[default]\n" + keys("FILE")
    ),
    "a process that fails": Case(config="[default]\ncredential_process = false\n"),
    # roles
    "a role": Case(config="[default]\n" + role("r", "base") + "[profile base]\n" + keys("BASE", "t")),
    "a role by name": Case(
        config="[default]\n"
        + role("r", "base", "role_session_name = me\nexternal_id = other\nduration_seconds = 1800\n")
        + "[profile base]\n" + keys("BASE")
    ),
    "a chain of roles": Case(
        config="[default]\n" + role("r", "b") + "[profile b]\n" + role("s", "c")
        + "[profile c]\n" + role("t", "d"), credentials="[d]\n" + keys("D")
    ),
    "a role with keys of its own": Case(config="[default]\n" + role("r", "default") + keys("OWN")),
    "a source with keys and a role": Case(
        config="[default]\n" + role("r", "b") + "[profile b]\n" + role("s", "default") + keys("B")
    ),
    "a circle of roles": Case(
        config="[default]\n" + role("r", "b") + "[profile b]\n" + role("s", "default")
    ),
    "a role without a source": Case(config="[default]\nrole_arn = arn:aws:iam::1:role/r\n"),
    "a role whose source is not there": Case(config="[default]\n" + role("r", "typo")),
    "a role before keys": Case(
        config="[default]\n" + role("r", "b") + "[profile b]\n" + keys("B"),
        credentials="[default]\n" + keys("FILE"),
    ),
    "a role from a process": Case(
        config="[default]\n" + role("r", "b") + "[profile b]\n" + PROCESS
    ),
    "a role from the environment": Case(
        ENV, config="[profile a]\n" + role_from("r", "Environment"), profile="a"
    ),
    "a role from the container": Case(
        CONTAINER, config="[default]\n" + role_from("r", "EcsContainer")
    ),
    "a role from the instance": Case(
        INSTANCE, config="[default]\n" + role_from("r", "Ec2InstanceMetadata")
    ),
    "a role from somewhere": Case(config="[default]\n" + role_from("r", "Moon")),
    # web identities
    "a web identity of the environment": Case(WEB_VARIABLES | {"AWS_ROLE_SESSION_NAME": "me"}),
    "a web identity of the profile": Case(config="[default]\n" + WEB),
    "a web identity of both": Case(WEB_VARIABLES | {"AWS_ROLE_ARN": ""}, config="[default]\n" + WEB),
    "a role of the environment for the profile's token": Case(
        {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/e"}, config="[default]\n" + WEB
    ),
    "a web identity by parameter": Case(WEB_VARIABLES, config="[profile a]\n" + WEB, profile="a"),
    "a web identity before keys": Case(WEB_VARIABLES, credentials="[default]\n" + keys("FILE")),
    "a role before a web identity": Case(
        WEB_VARIABLES, config="[default]\n" + role("r", "default") + keys("OWN")
    ),
    "a web identity as a source": Case(
        config="[default]\n" + role("r", "b") + "[profile b]\n" + WEB
    ),
    # single sign-on
    "single sign-on": Case(config="[default]\n" + SSO_SESSION + SESSIONS),
    "single sign-on without a session": Case(config="[default]\n" + SSO_LEGACY),
    "single sign-on before keys": Case(
        config="[default]\n" + SSO_LEGACY, credentials="[default]\n" + keys("FILE")
    ),
    "single sign-on as a source": Case(
        config="[default]\n" + role("r", "b") + "[profile b]\n" + SSO_LEGACY
    ),
    "a token that is renewed": Case(
        config="[default]\n" + SSO_SESSION + SESSIONS,
        files={session_cache("corp"): kept_token("old", "2020-01-01T00:00:00Z", **RENEWABLE)},
    ),
    "a token that has ended": Case(
        config="[default]\n" + SSO_SESSION + SESSIONS,
        files={session_cache("corp"): kept_token("old", "2020-01-01T00:00:00Z")},
    ),
    "a token as the CLI once kept it": Case(
        config="[default]\n" + SSO_LEGACY,
        files={session_cache(START_URL): kept_token("legacy", "2037-01-01T00:00:00UTC")},
    ),
    "nobody has signed in": Case(
        config="[default]\n" + SSO_SESSION + SESSIONS, files={session_cache("corp"): None}
    ),
    "a session that is not there": Case(config="[default]\n" + SSO_SESSION),
    "a session that says something else": Case(
        config="[default]\n" + SSO_SESSION + "sso_region = us-east-1\n" + SESSIONS
    ),
    # the machine's own surroundings
    "a container": Case(CONTAINER | {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "proof"}),
    "a container after a file": Case(CONTAINER, credentials="[default]\n" + keys("FILE")),
    "a container that is not to be trusted": Case(
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/container"}
    ),
    "an instance": Case(INSTANCE),
    "an instance that the profile names": Case(
        {"AWS_EC2_METADATA_DISABLED": ""},
        config="[default]\nec2_metadata_service_endpoint = {aws}\n",
    ),
    "a container before an instance": Case(CONTAINER | INSTANCE),
    # regions
    "no region": Case(ENV | NO_REGION),
    "a region of the profile": Case(ENV | NO_REGION, config="[default]\nregion = eu-central-1\n"),
    "a region of both": Case(ENV, config="[default]\nregion = eu-central-1\n"),
    "China": Case(ENV | {"AWS_DEFAULT_REGION": "cn-north-1"}),
    "a role in China": Case(
        {"AWS_DEFAULT_REGION": "cn-north-1"},
        config="[default]\n" + role("r", "default") + keys("OWN"),
    ),
    # endpoints
    "FIPS": Case(ENV | {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_DEFAULT_REGION": "us-east-2"}),
    "FIPS of the profile": Case(
        NO_REGION,
        config="[default]\nuse_fips_endpoint = true\nregion = us-east-2\n"
        + role("r", "default") + keys("OWN"),
    ),
    "dual stack": Case(ENV | {"AWS_USE_DUALSTACK_ENDPOINT": "true"}),
    "dual stack and FIPS": Case(
        ENV | {"AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_USE_FIPS_ENDPOINT": "TRUE",
               "AWS_DEFAULT_REGION": "us-east-2"}
    ),
    "dual stack of S3": Case(ENV, config="[default]\ns3 =\n  use_dualstack_endpoint = true\n"),
    "STS where it once was": Case(
        {"AWS_STS_REGIONAL_ENDPOINTS": "legacy"},
        config="[default]\n" + role("r", "default") + keys("OWN"),
    ),
    "STS where it once was, by the profile": Case(
        {"AWS_STS_REGIONAL_ENDPOINTS": ""},
        config="[default]\nsts_regional_endpoints = legacy\n"
        + role("r", "default") + keys("OWN"),
    ),
    "an endpoint of all services": Case(
        ENV | {"AWS_ENDPOINT_URL": "{aws}"}, since=KNOWS_ENDPOINT_URL, place="{aws}"
    ),
    "an endpoint of S3": Case(
        ENV | {"AWS_ENDPOINT_URL_S3": "{aws}", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
        since=KNOWS_ENDPOINT_URL, place="{aws}",
    ),
    "an endpoint of the profile": Case(
        ENV, config="[default]\nendpoint_url = {aws}\n", since=KNOWS_ENDPOINT_URL, place="{aws}"
    ),
    "an endpoint of the profile's services": Case(
        ENV,
        config="[default]\nendpoint_url = http://127.0.0.1:1\nservices = mine\n"
        "[services mine]\ns3 =\n  endpoint_url = {aws}\n",
        since=KNOWS_ENDPOINT_URL, place="{aws}",
    ),
    "endpoints that are ignored": Case(
        ENV | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
               "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
        config="[default]\nendpoint_url = http://127.0.0.1:1\n",
        place="https://s3.eu-west-1.amazonaws.com",
    ),
    # authorities
    "an authority of the profile": Case(
        {"AWS_CA_BUNDLE": ""},
        config="[default]\nca_bundle = {authority}\n" + role("r", "default") + keys("OWN"),
    ),
    "an unknown authority": Case(ENV | {"AWS_CA_BUNDLE": ""}),
    # addressing
    "virtual hosts": Case(ENV, config="[default]\ns3 =\n  addressing_style = virtual\n"),
    "paths": Case(ENV, config="[default]\ns3 =\n  addressing_style = path\n"),
}  # fmt: skip

# name -> (why, case)
DIFFERENCES = {
    "STS without a region": (
        "boto3 asks sts.amazonaws.com then, which is the same service as that of us-east-1",
        Case(NO_REGION, config="[default]\n" + role("r", "default") + keys("OWN")),
    ),
    "AWS_REGION": (
        "boto3 does not know it; all other tools of AWS's do, and Lambda, ECS and EKS set it",
        Case(ENV | {"AWS_REGION": "eu-central-1"}),
    ),
    "a profile that is not needed is not there": (
        "boto3 ends; who has keys in the environment need not clear AWS_PROFILE",
        Case(ENV | {"AWS_PROFILE": "typo"}),
    ),
    "a profile that signs in, but names no role": (
        "boto3 goes on to the container's identity, which is another than the one asked for",
        Case(CONTAINER, config=f"[default]\nsso_start_url = {START_URL}\n"),
    ),
    "the duration of a web identity": (
        "boto3 leaves duration_seconds out, the tools in Go do not",
        Case(config="[default]\n" + WEB + "duration_seconds = 1800\n"),
    ),
    "keys of the environment that have ended": (
        "boto3 wants new ones from the environment, which cannot change; here the service says so",
        Case(ENV | {"AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"}),
    ),
    "an instance behind a proxy": (
        "boto3 asks the proxy for the credentials of this machine, unless no_proxy names it",
        Case(INSTANCE | {"http_proxy": "http://127.0.0.1:1"}),
    ),
}
if BOTOCORE < (1, 40, 0):
    DIFFERENCES["STS without a word"] = (
        "older versions of boto3 ask in us-east-1, newer ones and we in the region",
        Case({"AWS_STS_REGIONAL_ENDPOINTS": ""},
             config="[default]\n" + role("r", "default") + keys("OWN")),
    )  # fmt: skip
if BOTOCORE < FINDS_TOKEN_OF_SOURCE:
    DIFFERENCES["a session's sign-on as a source"] = (
        "older versions of boto3 look for the session in the wrong profile",
        Case(config="[default]\n" + role("r", "b") + "[profile b]\n" + SSO_SESSION + SESSIONS),
    )


def random_profile(dice, names, has_region):
    """Settings in config, and in credentials. Without `has_region`, a region is among them."""
    session = f"role_session_name = {dice.choice(['me', 'you'])}\n" if dice.random() < 0.5 else ""
    config = dice.choice([
        "", PROCESS, WEB + session, SSO_LEGACY, SSO_LEGACY + PROCESS,
        keys(f"CONFIG{dice.randrange(9)}", dice.choice(["", "t"])),
        role("r", dice.choice(names), session), role("s", dice.choice(names)),
        role("t", dice.choice(names)) + keys("BOTH"),
        role_from("u", dice.choice(["Environment", "EcsContainer", "Ec2InstanceMetadata"])),
    ])  # fmt: skip
    if dice.random() < 0.3 or not has_region:
        config += f"region = {dice.choice(['eu-central-1', 'us-east-2', 'cn-north-1'])}\n"
    credentials = keys(f"FILE{dice.randrange(9)}") if dice.random() < 0.25 else ""
    return config, credentials


def random_case(seed):
    """Anything that boto3 and we are to take in the same way."""
    dice = random.Random(seed)
    names = ["default", "a", "b", "c"]
    has_region = dice.random() < 0.6
    case = Case({} if has_region else dict(NO_REGION), config=SESSIONS)
    for name in names:
        config, credentials = random_profile(dice, names, has_region)
        case.config += f"[{'profile ' if name != 'default' else ''}{name}]\n{config}"
        if credentials:
            case.credentials += f"[{name}]\n{credentials}"
    for chance, variables in (
        (0.25, ENV), (0.1, {"AWS_SESSION_TOKEN": "t"}), (0.2, WEB_VARIABLES), (0.3, CONTAINER),
        (0.3, INSTANCE), (0.5, {"AWS_PROFILE": dice.choice(names)}),
        (0.2, {"AWS_DEFAULT_PROFILE": dice.choice(names)}),
        (0.2, {"AWS_STS_REGIONAL_ENDPOINTS": "legacy"}),
    ):  # fmt: skip
        if dice.random() < chance:
            case.environment |= variables
    if dice.random() < 0.3:
        case.profile = dice.choice(names)
    return case
