# Sourced: certificates for servers on 127.0.0.1 that tests talk to.

# Makes ca.pem, which clients trust, and server.pem, the server's key and certificate in one file.
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
  chmod 600 "$new"/*.key "$new/server.pem"
  mv "$new" "$1"
}
