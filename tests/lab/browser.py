"""The Prefect UI in headless Chromium, as an operator uses it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
# The background services of Chromium would look for hosts of their own.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
STEP_WITHIN_SECONDS = 15
SETTLED_MILLISECONDS = 500
WIDTH, HEIGHT = 1400, 1100


class Browser:
    """One page of the UI, and every host that it asked for anything."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.asked_hosts: set[str] = set()
        page.set_default_timeout(STEP_WITHIN_SECONDS * 1000)
        page.on("request", lambda request: self.asked_hosts.add(request.url.split("/")[2]))

    def log_in(self, credentials: str) -> None:
        """Give the login page what it asks for."""
        self.page.goto(self.url)
        self.page.fill("input[type=password]", credentials)
        self.page.keyboard.press("Enter")
        self.page.get_by_text("Dashboard").first.wait_for()

    def show(self, path: str, wait_for: str) -> None:
        """Open a page and wait until it shows that text."""
        self.page.goto(f"{self.url}{path}")
        self.page.get_by_text(wait_for).first.wait_for()

    def start_run(self, runbook: str, cluster: str) -> None:
        """Deployments, the runbook, Run, Custom run, the form, Submit."""
        self.show("/deployments", runbook)
        self.page.get_by_text(runbook).first.click()
        self.button("Run").click()
        self.page.get_by_text("Custom run").click()
        self.page.get_by_text("Validate parameters").wait_for()
        self.choose(self.page.locator(".p-select").first, cluster)

    def answer_gate(self, run_id: str, decision: str, fields: dict[str, str]) -> None:
        """The run's page, Resume, the gate's form; what is left is to press Submit."""
        self.show(f"/runs/flow-run/{run_id}", "Suspended")
        self.button("Resume").click()
        form = self.page.get_by_role("dialog")
        form.get_by_text("Approver", exact=True).wait_for()
        self.choose(form.locator(".p-select").first, decision)
        boxes = form.locator("textarea")
        for box, value in zip(boxes.all(), fields.values(), strict=True):
            box.fill(value)
        assert form.locator(".p-select").first.inner_text().strip() == decision

    def press(self, run_id: str, state: str, what: str, confirm: str) -> None:
        """A button on the page of a run in a state, and the answer to the question that follows."""
        self.show(f"/runs/flow-run/{run_id}", state)
        self.button(what).click()
        self.page.get_by_role("dialog").get_by_role("button", name=confirm, exact=True).click()

    def show_artifact(self, key: str) -> None:
        """The newest artifact of that key, as it reads."""
        self.show(f"/artifacts/key/{key}", key)
        self.page.locator("a[href*='/artifacts/artifact/']").first.click()
        self.page.get_by_text("Raw").first.wait_for()

    def submit(self) -> None:
        """Press Submit and wait until the form is gone."""
        button = self.button("Submit")
        button.click()
        button.wait_for(state="hidden")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True).last

    def choose(self, select: Locator, option: str) -> None:
        """Choose by the keyboard, until the wanted option is there, and stays."""
        for downs in range(1, 10):
            select.click()
            for _ in range(downs):
                self.page.keyboard.press("ArrowDown")
            self.page.keyboard.press("Enter")
            # Until the list has closed, the text is of all that it offers.
            self.page.wait_for_timeout(SETTLED_MILLISECONDS)
            if select.inner_text().strip() == option:
                return
        raise AssertionError(f"no option {option}: {select.inner_text()}")

    def picture(self, path: Path) -> None:
        """Keep what the page shows now."""
        self.page.wait_for_timeout(1500)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)


@contextmanager
def browser(url: str) -> Iterator[Browser]:
    """A fresh browser on the UI at that URL."""
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        try:
            page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            yield Browser(page, url)
        finally:
            chromium.close()
