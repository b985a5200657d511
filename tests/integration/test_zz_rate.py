import asyncio, time
from tests.integration.test_metrics_exporter import *
async def test_rate(url):
    import subprocess, sys, json
    p=subprocess.Popen([sys.executable,"-m","simulators","emc","--port","0"],stdout=subprocess.PIPE)
    try:
        addr=json.loads(p.stdout.readline())["url"]
        class M: url=addr
        async with exporting(url,M()) as ex, httpx.AsyncClient() as c:
            told=[e for n in range(1,501) for e in a_life(n)]
            t=time.perf_counter()
            for i in range(0,len(told),200): await ex.hear(*told[i:i+200])
            t1=time.perf_counter()
            while True:
                b=(await c.get(addr+"/_books")).json()
                if b["records"]>=3000: break
                await asyncio.sleep(0.1)
            t2=time.perf_counter()
            print("queued",t1-t,"sent",t2-t, 3000/(t2-t),"per s", b["repeated"])
    finally: p.terminate(); p.wait(); p.stdout.close()
