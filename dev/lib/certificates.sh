# shellcheck shell=bash
# Sourced: what servers on 127.0.0.1 need for TLS and logins, for tests of just that.

secured_user=cirrus
secured_password=cirrus-test

# Makes ca.pem, which clients trust, server.pem, the server's key and certificate in one file, and the file `password`.
make_certificates() { # DIRECTORY
  [[ ! -d $1 ]] || return 0
  local new=$1.new
  rm -rf "$new"
  mkdir -p "$new"
  {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=Cirrus test authority" \
      -keyout "$new/ca.key" -out "$new/ca.pem" &&
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=127.0.0.1" \
        -addext subjectAltName=IP:127.0.0.1,DNS:localhost -addext basicConstraints=critical,CA:FALSE \
        -CA "$new/ca.pem" -CAkey "$new/ca.key" -keyout "$new/server.key" -out "$new/server.crt"
  } 2>"$new/openssl.log" || die "cannot make certificates: $(reason "$new/openssl.log")"
  cat "$new/server.key" "$new/server.crt" >"$new/server.pem"
  echo "$secured_password" >"$new/password"
  chmod 600 "$new/password" "$new"/*.key "$new/server.pem"
  mv "$new" "$1"
}
