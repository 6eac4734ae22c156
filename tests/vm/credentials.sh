#!/bin/bash
# shellcheck disable=SC2016 # messages have backticks
# In a virtual machine: keys that are credentials of systemd, and a containerd that decrypts with them.
set -euo pipefail
export TPM2TOOLS_TCTI=device:/dev/tpmrm0
export COLUMNS=200
drop_in=/etc/systemd/system/containerd.service.d/keycell.conf
store=/etc/credstore.encrypted
keys=/run/credentials/containerd.service
mkdir -p "$store" "${drop_in%/*}"

# says WORDS COMMAND…: the command, whatever its exit code, prints the words.
says() {
    words=$1
    shift
    "$@" >/tmp/said 2>&1 || :
    grep -qF -- "$words" /tmp/said || { echo "nothing of '$words' from $*:"; cat /tmp/said; exit 1; }
}
unit() { printf '[Service]\n%s\n' "$1" >"$drop_in"; systemctl daemon-reload; }
opens() {
    ctr images import --snapshotter native "$FILES/image.tar" >/dev/null &&
        ctr images rm --sync "$(ctr images ls -q)" >/dev/null
}
begin() { echo "vm: $*"; }

begin "a key that is sealed with the TPM and a register of it, another that is locked"
systemd-creds encrypt --with-key=tpm2 --tpm2-pcrs=7 --name=node.pem "$FILES/node.pem" "$store/node.pem" 2>/dev/null
systemd-creds encrypt --with-key=host --name=locked "$FILES/locked" "$store/locked" 2>/dev/null
systemd-creds encrypt --with-key=host+tpm2 --name=locked.pass "$FILES/password" "$store/locked.pass" 2>/dev/null
rm "$FILES/node.pem"
unit 'LoadCredentialEncrypted=node.pem
LoadCredentialEncrypted=locked
LoadCredentialEncrypted=locked.pass'
keycell config containerd --keys "$keys" --write >/dev/null
says "does not run, or was started before" keycell doctor
systemctl start containerd 2>/dev/null
[ "$(stat -c '%a %u' $keys $keys/node.pem | xargs)" = "500 0 400 0" ]
keycell doctor >/tmp/doctor || { cat /tmp/doctor; exit 1; }
sed -n '/^keys/,/^$/p; /^systemd credentials/,/^$/p' /tmp/doctor
for words in 'sealed with the TPM (PCR 7)' 'sealed with the host key: ' 'sealed with the host key and the TPM'; do
    grep -qF "$words" /tmp/doctor || { echo "nothing of $words"; exit 1; }
done
opens

begin "the decoder as another user"
find /etc/containerd -name '*.toml' -exec sed -i 's/"--decryption-keys-path"/"--user", "nobody", &/' {} +
grep -rqF '"--user", "nobody"' /etc/containerd
systemctl restart containerd 2>/dev/null
opens

begin "a stop takes the keys away, a start brings them back"
systemctl stop containerd
[ ! -e "$keys" ]
systemctl start containerd 2>/dev/null
opens

begin "a credential that was added needs a restart"
systemd-creds encrypt --with-key=host --name=new "$FILES/locked" "$store/new" 2>/dev/null
unit 'LoadCredentialEncrypted=node.pem
LoadCredentialEncrypted=new'
says 'has no `new`' keycell doctor
grep -qF 'no longer loads `locked`' /tmp/said
systemctl restart containerd 2>/dev/null
[ -e $keys/new ] && [ ! -e $keys/locked ]

begin "a unit for the keys alone"
cat >/etc/systemd/system/keycell-keys.service <<'X'
[Unit]
Before=containerd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
LoadCredentialEncrypted=node.pem
X
rm "$drop_in"
systemctl daemon-reload
systemctl start keycell-keys.service
find /etc/containerd -name '*.toml' -exec sed -i 's#/run/credentials/containerd.service#/run/credentials/keycell-keys.service#' {} +
systemctl restart containerd 2>/dev/null
opens
keycell doctor >/tmp/doctor || { cat /tmp/doctor; exit 1; }
unit PrivateMounts=yes
systemctl restart containerd 2>/dev/null
says 'containerd does not see' keycell doctor
rm "$drop_in"
systemctl daemon-reload
systemctl restart containerd 2>/dev/null

begin "another value of the register: the keys stay sealed, and containerd runs"
tpm2_pcrextend 7:sha256=1111111111111111111111111111111111111111111111111111111111111111
! systemctl restart keycell-keys.service 2>/dev/null || { echo "the keys were opened"; exit 1; }
[ "$(systemctl is-active containerd)" = active ]
says 'there is no `/run/credentials/keycell-keys.service`' keycell doctor
! opens 2>/dev/null || { echo "the image was opened"; exit 1; }
echo "vm: done"
