"""Certificates for tests, made by the openssl command."""

import os
import shutil
import subprocess


class Certificates:
    """`ca` signed `server`, `renewed`, `expired` (for localhost and 127.0.0.1) and `client`; `stranger` signed
    `strange-client`. Each has NAME.pem and NAME.key in the folder."""

    def __init__(self, folder):
        self.folder = str(folder)
        for name in ("ca", "stranger"):
            self.openssl(
                *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256"),
                *("-days", "30", "-subj", f"/CN={name} of tests", "-keyout", f"{name}.key", "-out", f"{name}.pem"),
            )
        server = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
        client = "extendedKeyUsage=clientAuth\n"
        for serial, (name, authority, extensions, days) in enumerate(
            [
                ("server", "ca", server, 10),
                ("renewed", "ca", server, 20),
                ("expired", "ca", server, -1),
                ("client", "ca", client, 10),
                ("strange-client", "stranger", client, 10),
            ],
            1,
        ):
            self.sign(name, authority, extensions, days, serial)

    def sign(self, name, authority, extensions, days, serial):
        with open(self.path(f"{name}.extensions"), "w", encoding="utf-8") as file:
            file.write(extensions)
        self.openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        self.openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key"),
            *("-set_serial", str(serial), "-sha256", "-days", str(days), "-extfile", f"{name}.extensions"),
            *("-out", f"{name}.pem"),
        )

    def path(self, name):
        return os.path.join(self.folder, name)

    def pem(self, name):
        return self.path(f"{name}.pem")

    def key(self, name):
        return self.path(f"{name}.key")

    def bytes(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def openssl(self, *arguments):
        subprocess.run(
            ["openssl", *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=True,
            timeout=60,
        )

    def install(self, name, folder):
        """Puts a certificate and its key where a server looks for them, each file at once as tools for renewal do."""
        for kind in ("pem", "key"):
            target = os.path.join(str(folder), f"live.{kind}")
            shutil.copy(self.path(f"{name}.{kind}"), f"{target}.new")
            os.replace(f"{target}.new", target)

    def settings(self, name="server", clients=None, **more):
        """The settings of a server as environment variables."""
        settings = {"MID_GRPC_TLS_CERTIFICATE": self.pem(name), "MID_GRPC_TLS_KEY": self.key(name)}
        if clients:
            settings |= {"MID_GRPC_TLS_CLIENT_CERTIFICATES": clients, "MID_GRPC_TLS_CLIENT_CA": self.pem("ca")}
        return settings | more
