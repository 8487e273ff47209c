"""etcd for tests: one member or several, on loopback or in network namespaces, with TLS and users where asked for."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gtm.model.cluster import Cluster

DEADLINE_S = 60.0
PASSWORD, USER = "s3cret", "gtm"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a member runs: an address, its ports, and what its commands begin with (say, nsenter)."""

    address: str
    client_port: int
    peer_port: int
    command: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Papers:
    """PEM files: an authority, a certificate for the members, and one for clients."""

    ca: Path
    cert: Path
    key: Path
    client_cert: Path
    client_key: Path


@dataclass(kw_only=True)
class Member:
    """One etcd process, which can be killed, paused and started again on the same data."""

    name: str
    url: str
    arguments: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def kill(self) -> None:
        """As a crash."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """As an administrator would."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(DEADLINE_S) in (0, -signal.SIGTERM)
        self.process = None

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@dataclass(kw_only=True)
class Etcd:
    """A running cluster."""

    members: tuple[Member, ...]
    places: tuple[Place, ...]
    papers: Papers | None
    login: str | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(member.url for member in self.members)

    def cluster(self, *, lease_s: float = 2.0, prefix: str = "/gtm", user: str | None = None) -> Cluster:
        """How gtm is told of it; the password is in the file `password` of the deployment folder."""
        papers = self.papers
        return Cluster(
            endpoints=self.urls,
            prefix=prefix,
            lease_s=lease_s,
            ca_file=None if papers is None else str(papers.ca),
            cert_file=None if papers is None else str(papers.client_cert),
            key_file=None if papers is None else str(papers.client_key),
            user=user,
            password_file=None if user is None else "password",
        )

    def gtm_yaml(self, *, lease_s: float = 2.0) -> str:
        """The lines of gtm.yaml that make a node of a deployment share this store (without TLS)."""
        return f"state: etcd\netcd: {{endpoints: {json.dumps(list(self.urls))}, lease: {lease_s}s}}\n"

    def ctl(self, *arguments: str, member: int | None = None) -> str:
        """What etcdctl prints; of one member or of all. Fails where it does."""
        done = self._ctl(arguments, member)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _ctl(self, arguments: Sequence[str], member: int | None) -> subprocess.CompletedProcess[str]:
        urls = self.urls if member is None else (self.urls[member],)
        place = self.places[member or 0]
        papers = self.papers
        tls = () if papers is None else (f"--cacert={papers.ca}", f"--cert={papers.client_cert}")
        key = () if papers is None else (f"--key={papers.client_key}",)
        login = () if self.login is None else (f"--user={self.login}",)
        command = (*place.command, "etcdctl", f"--endpoints={','.join(urls)}", *tls, *key, *login, *arguments)
        return subprocess.run(
            command, env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}, capture_output=True, text=True
        )

    def await_ready(self, *members: int) -> None:
        """Wait until these members (default: all) serve; fails after a minute."""
        deadline = time.monotonic() + DEADLINE_S
        for number in members or range(len(self.members)):
            while (done := self._ctl(("endpoint", "health"), number)).returncode:
                member = self.members[number]
                assert member.process is not None, "is not running"
                assert member.process.poll() is None, member.log.read_text()
                assert time.monotonic() < deadline, done.stderr + member.log.read_text()
                time.sleep(0.05)

    def leader(self) -> int:
        """The position of the member that leads."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            for number, member in enumerate(self.members):
                if member.process is None:
                    continue
                done = self._ctl(("endpoint", "status", "-w", "json"), number)
                for status in json.loads(done.stdout or "[]") or []:
                    found = status["Status"]
                    if found["leader"] and found["leader"] == found["header"]["member_id"]:
                        return number
            assert time.monotonic() < deadline, "no leader"
            time.sleep(0.05)

    def get(self, key: str) -> str:
        return self.ctl("get", "--print-value-only", key).strip()

    def keys(self, prefix: str) -> list[str]:
        return self.ctl("get", "--prefix", "--keys-only", prefix).split()

    def revision(self) -> int:
        return int(json.loads(self.ctl("get", "x", "-w", "json"))["header"]["revision"])

    def compact(self) -> None:
        self.ctl("compaction", "--physical=true", str(self.revision()))

    def require_users(self, *, prefix: str = "/gtm") -> None:
        """From now on nobody may do anything but root, and USER below the prefix; both with PASSWORD."""
        self.ctl("user", "add", f"root:{PASSWORD}")
        self.ctl("user", "grant-role", "root", "root")
        self.ctl("role", "add", "gtm")
        self.ctl("role", "grant-permission", "gtm", "--prefix=true", "readwrite", f"{prefix}/")
        self.ctl("user", "add", f"{USER}:{PASSWORD}")
        self.ctl("user", "grant-role", USER, "gtm")
        self.ctl("auth", "enable")
        self.login = f"root:{PASSWORD}"


@contextmanager
def etcd_node(folder: Path, *, papers: Papers | None = None) -> Iterator[Etcd]:
    """A cluster of one member on loopback."""
    with etcd_cluster(folder, 1, papers=papers) as etcd:
        yield etcd


@contextmanager
def etcd_cluster(
    folder: Path,
    count: int = 3,
    *,
    places: Sequence[Place] | None = None,
    papers: Papers | None = None,
    options: Sequence[str] = (),
) -> Iterator[Etcd]:
    """A cluster that serves; its processes end with the context. Without `places` it is on loopback."""
    if shutil.which("etcd") is None or shutil.which("etcdctl") is None:
        pytest.skip("needs etcd (apt-get install etcd-server etcd-client)")
    where = tuple(places) if places is not None else loopback(count)
    scheme = "http" if papers is None else "https"
    peers = ",".join(f"n{n}=http://{_host(one)}:{one.peer_port}" for n, one in enumerate(where))
    members = []
    for number, one in enumerate(where):
        url, peer = f"{scheme}://{_host(one)}:{one.client_port}", f"http://{_host(one)}:{one.peer_port}"
        tls = () if papers is None else (
            f"--cert-file={papers.cert}", f"--key-file={papers.key}", f"--trusted-ca-file={papers.ca}",
            "--client-cert-auth",
        )  # fmt: skip
        arguments = (
            *one.command, "etcd", f"--name=n{number}", f"--data-dir={folder / f'etcd-{number}'}",
            f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster={peers}",
            "--logger=zap", "--log-level=warn", *tls, *options,
        )  # fmt: skip
        members.append(Member(name=f"n{number}", url=url, arguments=arguments, log=folder / f"etcd-{number}.log"))
    etcd = Etcd(members=tuple(members), places=where, papers=papers)
    with ExitStack() as stack:
        for member in etcd.members:
            stack.callback(member.kill)
            member.start()
        etcd.await_ready()
        yield etcd


def loopback(count: int) -> tuple[Place, ...]:
    """Places on 127.0.0.1, with ports that were free just now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2 * count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    return tuple(
        Place(address="127.0.0.1", client_port=client, peer_port=peer)
        for client, peer in zip(ports[::2], ports[1::2], strict=True)
    )


def _host(place: Place) -> str:
    return f"[{place.address}]" if ":" in place.address else place.address


def make_papers(folder: Path, addresses: Sequence[str] = ("127.0.0.1", "::1")) -> Papers:
    """Keys and certificates of an authority of our own, good for the addresses and for a day."""
    folder.mkdir(parents=True, exist_ok=True)
    now = dt.datetime.now(dt.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])

    def issue(name: str) -> tuple[Path, Path]:
        key = authority_key if name == "ca" else ec.generate_private_key(ec.SECP256R1())
        # Where etcd requires users its gateway refuses clients' certificates that have a CommonName.
        subject = authority if name == "ca" else x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
                    key_agreement=False, key_cert_sign=name == "ca", crl_sign=name == "ca", encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )  # fmt: skip
        if name != "ca":
            names = [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]
            built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        cert_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
        cert_file.write_bytes(built.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file

    ca, _ = issue("ca")
    cert, key = issue("member")
    client_cert, client_key = issue("client")
    return Papers(ca=ca, cert=cert, key=key, client_cert=client_cert, client_key=client_key)
