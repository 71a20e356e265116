certutil -addstore -f Root kagikura-ca.crt
