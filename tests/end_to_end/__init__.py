"""The program as users run it: processes of `kube-bridge` against real servers, judged from outside."""
