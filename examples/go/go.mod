module keycell.example/jwe

go 1.21
